"""COCO's JSON against the same boxes in VOC's XML, and sets without splits."""

import hashlib
import json
import shutil

import pytest
from support.dataset_trees import VocTree

from contract.errors import UserError
from datasets.layouts import coco as coco_layout
from datasets.layouts import voc as voc_layout
from datasets.layouts.voc import ImageList
from det.assemble import source
from det.dataset import CocoDetectionDataset, DetectionDataset

OBJECTS = {
    "a": [("dog", 11, 21, 31, 41, 0), ("cat", 1, 1, 64, 48, 1), ("cow", 3, 3, 20, 20, 0)],
    "b": [("cat", 6, 6, 16, 16, 0), ("dog", 20, 10, 20, 30, 0), ("cat", 41, 31, 90, 80, 0)],
    "c": [("cat", 5, 5, 60, 40, 0)],
}
# Not the order of the ids, and not the same in both files.
CATEGORIES = {"train": {"dog": 7, "cow": 9, "cat": 2}, "val": {"cat": 1, "dog": 0, "cow": 3}}


def _content(names, categories):
    """COCO's form of `OBJECTS`: corners from 0, then width and height; difficult ones as crowds."""
    annotations = [
        {
            "id": number,
            "image_id": 100 + names.index(name),
            "category_id": categories[label],
            "bbox": [x1 - 1, y1 - 1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": difficult,
        }
        for number, (name, label, x1, y1, x2, y2, difficult) in enumerate(
            (name, *found) for name in names for found in OBJECTS[name]
        )
    ]
    images = [
        {"id": 100 + i, "file_name": f"{name}.jpg", "width": 64, "height": 48}
        for i, name in enumerate(names)
    ]
    listed = [{"id": i, "name": name} for name, i in categories.items()]
    return {"images": images, "annotations": annotations, "categories": listed}


@pytest.fixture
def tree(tmp_path):
    """The set in VOC's layout."""
    made = VocTree(tmp_path / "voc")
    for name, objects in OBJECTS.items():
        made.add(name, (64, 48), objects)
    return made.split("train", ["a", "b"]).split("val", ["c"])


@pytest.fixture
def coco(tmp_path, tree):
    """The set as COCO lays it out."""
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    for split, names in (("train", ["a", "b"]), ("val", ["c"])):
        content = _content(names, CATEGORIES[split])
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))
        (root / f"{split}2017").mkdir()
        for name in names:
            shutil.copy(tree.root / "JPEGImages" / f"{name}.jpg", root / f"{split}2017")
    return root


def _load(split, classes, **options):
    config = source(split)
    kind = {
        "DetectionDataset": DetectionDataset,
        "CocoDetectionDataset": CocoDetectionDataset,
    }[config.pop("type")]
    return kind(metainfo=dict(classes=classes), pipeline=[], **config, **options)


def _facts(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(info["width"], info["height"], info["instances"]) for info in infos]


def test_coco_and_voc_give_equal_boxes(tree, coco):
    found, expected = coco_layout.splits(coco), voc_layout.splits(tree.root)
    # By ascending id in the file that is trained on.
    assert coco_layout.classes(coco) == ("cat", "dog", "cow")
    for options in ({}, {"filter_cfg": dict(filter_empty_gt=True, bbox_min_size=12)}):
        for one, other in zip(
            (*found.train, found.test), (*expected.train, expected.test), strict=True
        ):
            loaded = _load(one, ("cat", "dog"), **options)
            wanted = _load(other, ("cat", "dog"), **options)
            assert _facts(loaded) == _facts(wanted)
            assert [note.replace(".jpg", ".xml") for note in loaded.notes] == wanted.notes
    assert loaded.get_data_info(0)["img_path"] == str(coco / "val2017" / "c.jpg")
    _agree(coco, coco_layout)
    _agree(tree.root, voc_layout)


def test_one_folder_per_split(coco, tmp_path):
    root = tmp_path / "folders"
    for word, split in (("train", "train"), ("valid", "val")):
        shutil.copytree(coco / f"{split}2017", root / word)
        shutil.copy(
            coco / "annotations" / f"instances_{split}2017.json",
            root / word / "_annotations.coco.json",
        )
    splits = coco_layout.splits(root)
    (train,), test = splits.train, splits.test
    assert (train.folder, test.folder) == (root / "train", root / "valid")
    _agree(root, coco_layout)


def test_train_and_val_with_test_file(coco):
    for name in ("annotations/instances_{}2017.json", "{}2017"):
        source, copy = coco / name.format("val"), coco / name.format("test")
        (shutil.copy if source.is_file() else shutil.copytree)(source, copy)
    layout = coco_layout.splits(coco)
    assert [split.folder.name for split in layout.train] == ["train2017", "val2017"]
    assert layout.test.folder.name == "test2017"
    _agree(coco, coco_layout)


def _paths(splits, classes=("cat", "dog", "cow")):
    """The image files of some splits, as the task loads them."""
    sets = [_load(split, classes) for split in splits]
    return [s.get_data_info(i)["img_path"] for s in sets for i in range(len(s))]


def _agree(root, layout):
    """The task loads the images that the harness checks, and divides them alike."""
    splits = layout.splits(root)
    assert _paths(splits.train) == list(map(str, splits.train_images()))
    assert _paths([splits.test]) == list(map(str, splits.test_images()))
    report = layout.check(root, decode=False)
    checked = {*splits.train_images(), *splits.test_images()}
    assert report.counts["images"] == len(checked)
    assert report.counts["classes"] == len(layout.classes(root))


def _is_test(name):
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 5 == 0


def test_unsplit_set_is_split_by_hash(tmp_path):
    names = [f"image{number}" for number in range(40)]
    tree = VocTree(tmp_path / "own")
    for name in names:
        tree.add(name, (16, 16), [("cat", 2, 2, 9, 9)])
    shutil.rmtree(tree.root / "ImageSets")
    layout = voc_layout.splits(tree.root)
    (train,), test = layout.train, layout.test
    assert set(test.names()) == {name for name in names if _is_test(name)}
    assert set(train.names()) == {name for name in names if not _is_test(name)}
    assert 4 <= len(test.names()) <= 12
    assert test == ImageList(tree.root, None, "test")
    _agree(tree.root, voc_layout)
    dataset = _load(test, voc_layout.classes(tree.root))
    assert len(dataset) == len(test.names())
    assert dataset.notes == [
        "the set names no splits: one image in 5, by the hash of its name, is tested on"
    ]


def test_single_json_is_split_by_hash(tmp_path, coco):
    content = _content(["a"], CATEGORIES["train"])
    content["images"] = [
        {"id": number, "file_name": f"deep/image{number}.jpg", "width": 64, "height": 48}
        for number in range(40)
    ]
    content["annotations"] = []
    root = tmp_path / "one"
    (root / "images" / "deep").mkdir(parents=True)
    shutil.copy(coco / "train2017" / "a.jpg", root / "images" / "deep" / "image0.jpg")
    (root / "annotations.json").write_text(json.dumps(content))
    layout, classes = coco_layout.splits(root), coco_layout.classes(root)
    sizes = [len(_load(split, classes)) for split in (*layout.train, layout.test)]
    assert sum(sizes) == 40
    assert sizes[1] == sum(_is_test(f"image{number}") for number in range(40))
    _agree(root, coco_layout)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["annotations"][0].update(image_id=5),
            "annotation 0 is of an image that the file",
        ),
        (
            lambda c: c["annotations"][0].update(category_id=5),
            "annotation 0: unknown category id '5'",
        ),
        (
            lambda c: c["annotations"][0].update(bbox=[1, 2]),
            "annotation 0: it has no bbox of four numbers",
        ),
        (lambda c: c["annotations"][0].pop("bbox"), "annotation 0: it has no bbox of four numbers"),
        (lambda c: c["images"][1].pop("width"), "has no 'width'; fix the file"),
        (lambda c: c.pop("categories"), "has no list 'categories'; expected COCO's form"),
    ],
)
def test_damaged_file(coco, change, message):
    path = coco / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        _load(coco_layout.splits(coco).train[0], ("cat", "dog", "cow"))


def test_invalid_sets(coco):
    path = coco / "annotations" / "instances_train2017.json"
    text = path.read_text()
    path.write_text("{")
    with pytest.raises(UserError, match="is no JSON"):
        coco_layout.splits(coco)
    path.write_text(text)
    shutil.rmtree(coco / "train2017")
    with pytest.raises(UserError, match=r"names the image a.jpg, which is in none of"):
        coco_layout.splits(coco)
    path.unlink()
    with pytest.raises(UserError, match=r"has annotations for val \(instances_val2017.json\) only"):
        coco_layout.splits(coco)
