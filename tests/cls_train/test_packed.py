"""Training from a packed folder, by the same option."""

import json

import pytest
from mmengine.registry import DATASETS
from support.conversion import packed_copy, smaller_copy

from cls_train.train import Classification
from datasets.convert import pack as packing
from engine.image_folder import ImageFolderDataset
from engine.runner.seeding import SeededDataset
from engine.task import main


@pytest.fixture
def packed(image_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "MIB", 16_384)
    small = smaller_copy(image_folder, tmp_path / "small", 24)
    return packed_copy(small, tmp_path / "packed")


def test_trains_and_says_what_on(packed, tiny_config, tmp_path, capsys):
    words = [str(tiny_config), "--data", str(packed), "--work-dir", str(tmp_path / "run")]
    words += ["--backbone", "resnet10_d-w8", "--budget", "smoke"]
    assert main(Classification(), words) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["data"]["train_images_total"] == 48
    assert result["data"]["test_images_total"] == 12
    assert result["protocol"]["images"] == "short side 24, JPEG quality 90"


def _training_set(root, pipeline):
    config = dict(type=ImageFolderDataset.__name__, root=str(root / "train"), pipeline=pipeline)
    return SeededDataset(DATASETS.build(config), seed=3)


def test_sample_has_the_pixels_of_the_folder(image_folder, tmp_path):
    packed = packed_copy(image_folder, tmp_path / "packed")
    pipeline = [dict(type="RandomResizedCrop", size=16), dict(type="ColorJitter", hue=0.2)]
    folder, shards = (_training_set(root, pipeline) for root in (image_folder, packed))
    assert shards.blocks is not None and folder.blocks is None
    for position in (0, 17, 47, 48 + 5, 3 * 48 + 20):
        expected, found = folder[position], shards[position]
        assert found["inputs"].equal(expected["inputs"])
        assert found["labels"] == expected["labels"]
    assert [shards.get_data_info(i)["label"] for i in range(48)] == [
        folder.get_data_info(i)["label"] for i in range(48)
    ]
