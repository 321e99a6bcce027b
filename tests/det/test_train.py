"""The detection command: its metrics, its notes, and its errors."""

import functools
import json

import pytest
from support.dataset_trees import VocTree
from support.tasks import refusal_of

from det.train import Detection


def test_metrics_match_evaluator(tiny_voc, tmp_path, run_det):
    work = tmp_path / "work"
    assert run_det(tiny_voc.root.parent, work, "--backbone", "resnet10_b-w8") == 0
    result = json.loads((work / "result.json").read_text())
    values = {entry["name"]: entry["value"] for entry in result["metrics"]}
    assert [*values] == ["map", "voc07_map", "voc10_map", "coco_ap", "coco_ap50", "coco_ap75"]
    assert values["map"] == values["voc07_map"]
    evaluation = json.loads((work / "evaluation.json").read_text())
    assert [*evaluation["classes"]] == ["cat", "dog"]
    assert evaluation["images"] == 2


def test_random_weights_have_no_load_report_and_repairs_are_noted(tiny_voc, tmp_path, run_det):
    tiny_voc.add("001", (64, 96), [("cat", 8, 10, 40, 44), ("dog", 20, 10, 20, 30)])
    tiny_voc.add("005", (90, 70), [("cat", 8, 10, 40, 44), ("dog", 20, 10, 120, 30)])
    work = tmp_path / "work"
    assert run_det(tiny_voc.root.parent, work, "--backbone", "resnet10_b-w8") == 0
    result = json.loads((work / "result.json").read_text())
    assert result["checkpoint"] is None
    assert result["data"]["notes"] == [
        "det training set: 1 of 8 boxes have no area inside the image and were dropped (first: 001.xml)",
        "det test set: 1 of 4 boxes reach out of the image and were clipped (first: 005.xml)",
        "det transferability was not measured: 7 labelled samples are fewer than 20",
    ]


def test_own_set_without_classes_file(tmp_path, run_det):
    tree = VocTree(tmp_path / "own")
    for name in "abcd":
        tree.add(name, (64, 64), [("zebra", 5, 5, 40, 40)])
    tree.split("train", "abc").split("val", "d")
    assert run_det(tree.root, tmp_path / "work", "--backbone", "resnet10_b-w8") == 0
    assert json.loads((tmp_path / "work" / "result.json").read_text())["data"]["classes"] == 1


@pytest.fixture
def refused(tiny_voc, tmp_path, capsys):
    """Run the task, expect exit status 2 and no result, and return the message."""
    return functools.partial(
        refusal_of, Detection(), tiny_voc.root.parent, tmp_path / "work", capsys=capsys
    )


def test_damaged_xml(refused, tiny_voc):
    path = tiny_voc.xml("002")
    path.write_text("<annotation>")
    assert f"the annotation {path} is not XML (no element found" in refused(
        "--backbone", "resnet10_b-w8"
    )


def test_foreign_backbone_trains(tiny_voc, tmp_path, run_det):
    work = tmp_path / "work"
    assert run_det(tiny_voc.root.parent, work, "--backbone", "timm:mobilenetv3_small_050") == 0
    result = json.loads((work / "result.json").read_text())
    assert result["backbone"] == "timm:mobilenetv3_small_050"
    assert result["protocol"]["backbone"].endswith("no frozen stages")
