"""The trick `holdout` of detection: the training images, and the held-out images that replace the test set."""

import hashlib
import json
import shutil

import pytest
from mmengine.registry import DATASETS, DefaultScope
from support.dataset_trees import VocTree

from contract.errors import UserError
from det.train import Detection
from engine.cli import Options
from engine.job import resolve_job
from engine.task import prepare


def _held_out(name):
    return int(hashlib.sha256(name.encode()).hexdigest()[8:16], 16) % 5 == 0


def _is_test(name):
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 5 == 0


@pytest.fixture
def sides(tmp_path):
    """Assemble a config with the trick; return the training and test sets, and the config."""

    def load(root, config="mini"):
        options = Options(
            config=config,
            data=root,
            work_dir=tmp_path / "work",
            backbone="resnet10_d-w8",
            precision="fp32",
            tricks=("holdout",),
        )
        made = prepare(Detection(), resolve_job(options))
        with DefaultScope.overwrite_default_scope("mmdet"):
            return *(
                DATASETS.build(loader.dataset)
                for loader in (made.train_dataloader, made.val_dataloader)
            ), made

    return load


def _names(dataset):
    return [dataset.get_data_info(i)["img_path"].rsplit("/")[-1][:-4] for i in range(len(dataset))]


def _tree(root, names, splits):
    tree = VocTree(root)
    for name in names:
        tree.add(name, (64, 48), [("cat", 4, 4, 44, 40)])
    for split, listed in splits.items():
        tree.split(split, listed)
    return tree


def test_splits_both_years_and_reads_no_test_image(tmp_path, sides):
    years = [f"{n:06d}" for n in range(12)], [f"2008_{n:06d}" for n in range(12)]
    tests = ["test1", "test2"]
    devkit = tmp_path / "VOCdevkit"
    first = _tree(devkit / "VOC2007", [*years[0], *tests], {"trainval": years[0], "test": tests})
    _tree(devkit / "VOC2012", years[1], {"trainval": years[1]})
    (devkit / "classes.txt").write_text("cat\n")
    for name in tests:
        # The test images must not be read.
        (first.root / "JPEGImages" / f"{name}.jpg").unlink()
        first.xml(name).unlink()
    for config, times in (("mini", 1), ("voc0712", 3), ("mini_c4", 1)):
        trained, tested, made = sides(devkit, config)
        everything = [*years[0], *years[1]]
        assert _names(trained) == [name for name in everything if not _held_out(name)] * times
        assert _names(tested) == [name for name in everything if _held_out(name)]
        assert tested.images_total == len(_names(tested)) > 2
        description = Detection().protocol(made)["test"]
        assert description.endswith(
            ", no flip; on training images held out (one in 5, by the hash of the name), not on the test set"
        )
        # The pipeline is the test set's: nothing is mirrored, and the truth is not packed scaled.
        steps = [type(step).__name__ for step in tested.dataset.datasets[0].pipeline.transforms]
        assert steps == ["LoadImage", "Resize", "LoadAnnotations", "PackDetInputs"]
        assert all(part.test_mode for part in tested.dataset.datasets)


def test_one_year_may_be_on_one_side(tmp_path, sides):
    first, second = ["000", "001", "003"], ["002", "004"]
    assert list(map(_held_out, first + second)) == [True, False, True, False, False]
    devkit = tmp_path / "VOCdevkit"
    _tree(devkit / "VOC2007", first, {"trainval": first, "test": ["000"]})
    _tree(devkit / "VOC2012", second, {"trainval": second})
    trained, tested, _ = sides(devkit)
    assert (_names(trained), _names(tested)) == (["001", "002", "004"], ["000", "003"])


def test_unsplit_set_holds_out_of_training_split(tmp_path, sides):
    names = [f"image{number}" for number in range(60)]
    tree = _tree(tmp_path / "own", names, {})
    shutil.rmtree(tree.root / "ImageSets")
    trained, tested, _ = sides(tree.root)
    training = sorted(name for name in names if not _is_test(name))
    assert _names(trained) == [name for name in training if not _held_out(name)]
    assert _names(tested) == [name for name in training if _held_out(name)]
    assert len(tested) > 2
    # A note that the test split is tested on would be wrong here.
    assert trained.notes == tested.notes == []


def test_coco_splits_by_base_name(tmp_path, sides):
    names = [f"image{number}" for number in range(20)]
    tree = _tree(tmp_path / "voc", names, {})
    root = tmp_path / "coco"
    shutil.copytree(tree.root / "JPEGImages", root / "images" / "deep")
    (root / "annotations").mkdir()
    for split, listed in (("train", names[:15]), ("val", names[15:])):
        images = [
            {"id": i, "file_name": f"deep/{name}.jpg", "width": 64, "height": 48}
            for i, name in enumerate(listed)
        ]
        boxes = [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [4, 4, 40, 36]}
            for i in range(len(listed))
        ]
        content = {
            "images": images,
            "annotations": boxes,
            "categories": [{"id": 1, "name": "cat"}],
        }
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    trained, tested, _ = sides(root)
    assert _names(trained) == [name for name in names[:15] if not _held_out(name)]
    assert _names(tested) == [name for name in names[:15] if _held_out(name)]
    assert len(tested) > 0


def test_too_few_images(tmp_path, sides):
    tree = _tree(tmp_path / "few", ["001", "002"], {"trainval": ["001"], "test": ["002"]})
    with pytest.raises(UserError, match="takes 0 of the 1 training images of the set, one in 5"):
        sides(tree.root)
