"""Street scenes and pairs of the real ADE20K."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

from datasets.layouts import ade20k
from engine.cli import Options
from engine.job import resolve_job
from engine.task import prepare
from seg.train import Segmentation

FOLDER = Path(__file__).parents[3] / "shared" / "data"


def _extracted(name, folder):
    archive = FOLDER / f"{name}.tar"
    if not archive.is_file():
        pytest.skip(f"{archive} is not there")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return next(path.parent for path in folder.rglob("annotations"))


def _test_set(root, work):
    options = Options(config="mini", data=root, work_dir=work, backbone="resnet10_b-w8")
    config = prepare(Segmentation(), resolve_job(options))
    with DefaultScope.overwrite_default_scope("mmseg"):
        return DATASETS.build(config.val_dataloader.dataset)


@pytest.mark.parametrize(
    ("name", "classes", "first"), [("camvid_small", 11, None), ("ade20k_sample", 150, "wall")]
)
def test_labels_are_shifted_by_one(tmp_path, name, classes, first):
    root = _extracted(name, tmp_path / name)
    names = ade20k.classes(root)
    assert len(names) == len(set(names)) == classes
    assert first in (None, names[0])
    test = _test_set(root, tmp_path / "work")
    assert len(test) == len(list((root / "annotations" / "validation").iterdir()))
    for index in range(0, len(test), max(1, len(test) // 5)):
        sample = test[index]["data_samples"]
        with Image.open(sample.seg_map_path) as image:
            file = np.asarray(image).astype(int)
        loaded = sample.gt_sem_seg.data[0].numpy().astype(int)
        assert file.max() <= classes
        assert np.array_equal(loaded[file > 0], file[file > 0] - 1)
        assert (loaded[file == 0] == 255).all()
