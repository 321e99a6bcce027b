"""The trick `holdout` of segmentation: the training images, and the held-out images that replace the test set."""

import hashlib

import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope
from support.dataset_trees import AdeTree

from engine.cli import Options
from engine.job import resolve_job
from engine.task import prepare
from seg.train import Segmentation

SENTENCE = "; on training images held out (one in 5, by the hash of the name), not on the test set"


def _held_out(name):
    return int(hashlib.sha256(name.encode()).hexdigest()[8:16], 16) % 5 == 0


def _sets(root, work, tricks=("holdout",)):
    options = Options("mini", work, root, backbone="resnet10_d-w8", precision="fp32", tricks=tricks)
    config = prepare(Segmentation(), resolve_job(options))
    with DefaultScope.overwrite_default_scope("mmseg"):
        return *(
            DATASETS.build(loader.dataset)
            for loader in (config.train_dataloader, config.val_dataloader)
        ), config


def _names(wrapped):
    dataset = wrapped.dataset
    return [dataset.get_data_info(i)["img_path"].rsplit("/")[-1][:-4] for i in range(len(dataset))]


def test_splits_training_images_and_reads_no_test_image(tmp_path):
    tree = AdeTree(tmp_path / "ade").classes("sky", "tree", "road")
    names = [f"ADE_train_{number:08d}" for number in range(25)]
    for name in names:
        tree.add("training", name, np.ones((32, 32)))
    # Of another suffix, so that a held-out image looked for with it would not be found.
    tree.add("validation", "ADE_val_1", np.ones((32, 32)), suffix=".png")
    trained, tested, config = _sets(tree.root, tmp_path)
    assert _names(trained) == [name for name in names if not _held_out(name)]
    assert _names(tested) == [name for name in names if _held_out(name)]
    assert tested.images_total > 1
    pipeline = [type(step).__name__ for step in tested.dataset.pipeline.transforms]
    assert pipeline == ["LoadImage", "Resize", "LoadLabels", "PackSegInputs"]
    assert Segmentation().protocol(config)["test"].endswith(", no flip" + SENTENCE)
    # Each image keeps its own label map.
    info = tested.dataset.get_data_info(0)
    assert info["seg_map_path"].endswith(f"annotations/training/{_names(tested)[0]}.png")
    trained, tested, config = _sets(tree.root, tmp_path, ())
    assert (_names(trained), _names(tested)) == (names, ["ADE_val_1"])
    assert Segmentation().protocol(config)["test"].endswith("no flip")


@pytest.mark.parametrize("name", ["001", "000"])
def test_too_few_images(tmp_path, run_seg, capsys, name):
    tree = AdeTree(tmp_path / "ade").classes("sky", "tree", "road")
    tree.add("training", name, np.ones((32, 32))).add("validation", "x", np.ones((32, 32)))
    work = tmp_path / "work"
    options = ("--backbone", "resnet10_b-w8", "--trick", "holdout")
    assert run_seg(tree.root, work, *options) == 2
    assert (
        f"the trick holdout takes {int(_held_out(name))} of the 1 training images of "
        in capsys.readouterr().err
    )
