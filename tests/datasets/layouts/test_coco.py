"""The checks of a detection set in COCO's form."""

import json
from pathlib import Path

import pytest
from PIL import Image

from contract.errors import UserError
from datasets.fingerprint import fingerprint
from datasets.layouts import kind_of
from datasets.verify import class_names, verify


def _write(root: Path, split: str, change=None) -> None:
    """One image of 40×30 pixels with two boxes."""
    folder = root / f"{split}2017"
    folder.mkdir(parents=True)
    shade = {"train": 50, "val": 90}.get(split, 120)
    Image.new("RGB", (40, 30), (shade, 0, 0)).save(folder / f"{split}.jpg")
    content = {
        "images": [{"id": 3, "file_name": f"{split}.jpg", "width": 40, "height": 30}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 9, "bbox": [2, 3, 10, 10]},
            {"id": 2, "image_id": 3, "category_id": 4, "bbox": [0, 0, 40, 30]},
        ],
        "categories": [{"id": 9, "name": "zebra"}, {"id": 4, "name": "ape"}],
    }
    if change is not None:
        change(content)
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    _write(tmp_path / "set", "train")
    return tmp_path / "set"


def test_valid_set(root: Path):
    _write(root, "val")
    report = verify("coco", root)
    assert report.problems == ()
    assert report.counts == {
        "images": 2,
        "objects": 4,
        "classes": 2,
        "converted_to_rgb": 0,
        "turned_upright": 0,
        "of_another_format": 0,
        "test_images_trained_on": 0,
    }
    assert class_names("coco", root) == ("ape", "zebra")
    before = fingerprint("coco", root)
    path = root / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text().replace("[2, 3,", "[2, 4,"))
    assert fingerprint("coco", root) != before


@pytest.mark.parametrize(
    ("change", "severity", "message"),
    [
        (lambda c: c["images"].append(dict(c["images"][0])), "error", "2 images have the id 3"),
        (lambda c: c["images"][0].update(width=41), "error", "says 41×30 but the image is 40×30"),
        (lambda c: c["annotations"][0].update(image_id=5), "error", "annotation 1 is of an image"),
        (
            lambda c: c["annotations"][0].update(category_id=5),
            "error",
            "annotation 1: unknown category id '5'",
        ),
        (lambda c: c["annotations"][0].pop("bbox"), "error", "has no bbox of four numbers"),
        (
            lambda c: c["annotations"][0].update(bbox=[2, 3, 0, 10]),
            "repaired",
            r"the box \[2, 3, 0, 10\] has no area; it is dropped",
        ),
        (
            lambda c: c["annotations"][0].update(bbox=[50, 3, 5, 10]),
            "repaired",
            "lies outside the 40×30 image; it is dropped",
        ),
        (
            lambda c: c["annotations"][0].update(bbox=[35, 3, 10, 10]),
            "repaired",
            "reaches beyond the 40×30 image; it is clipped",
        ),
    ],
)
def test_problems(root: Path, change, severity: str, message: str):
    _write(root, "val", change)
    report = verify("coco", root)
    assert {problem.severity for problem in report.problems} == {severity}
    with pytest.raises(UserError, match=message):
        raise UserError(report.problems[0].message)


def test_damaged_image_and_leak(root: Path):
    _write(root, "val")
    (root / "val2017" / "val.jpg").write_bytes((root / "train2017" / "train.jpg").read_bytes())
    (problem,) = verify("coco", root).errors
    assert problem.message.startswith("the test image is also trained on, as train.jpg")
    (root / "val2017" / "val.jpg").write_bytes(b"none")
    (problem,) = verify("coco", root).errors
    assert "does not decode" in problem.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ('{"images": []}', "has no list 'annotations'"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "has no 'file_name'"),
        ('{"images": [], "annotations": [], "categories": []}', "lists no image"),
    ],
)
def test_invalid_file(root: Path, text: str, message: str):
    _write(root, "val")
    (root / "annotations" / "instances_val2017.json").write_text(text)
    with pytest.raises(UserError, match=message):
        verify("coco", root)


def test_other_folders_are_refused(root: Path):
    with pytest.raises(
        UserError, match=r"it has annotations for train \(instances_train2017.json\) only"
    ):
        verify("coco", root)
    (root / "annotations" / "instances_train2017.json").unlink()
    with pytest.raises(UserError, match=r"it has no annotation file of COCO's form\. Expected"):
        verify("coco", root)


def test_detected_as_detection_layout(root: Path):
    assert kind_of(root, "det") == "coco"
    assert kind_of(root, "seg") == "ade20k"
    assert kind_of(root / "train2017", "det") == "voc"
