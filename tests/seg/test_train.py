"""The segmentation command: its metrics and its errors."""

import functools
import json
import re

import numpy as np
import pytest
from PIL import Image
from support.tasks import refusal_of

from seg.train import Segmentation


def test_metrics_match_confusion_matrix(tiny_ade, tmp_path, run_seg):
    work = tmp_path / "work"
    assert run_seg(tiny_ade.root, work, "--backbone", "resnet10_b-w8") == 0
    result = json.loads((work / "result.json").read_text())
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert list(values) == ["pixacc", "miou", "macc"]
    matrix = np.array(json.loads((work / "evaluation.json").read_text())["confusion"])
    assert values["pixacc"] == pytest.approx(100 * np.trace(matrix) / matrix.sum())


@pytest.fixture
def refused(tiny_ade, tmp_path, capsys):
    """Run the task, expect exit status 2 and no result, and return the message."""
    return functools.partial(
        refusal_of, Segmentation(), tiny_ade.root, tmp_path / "work", capsys=capsys
    )


def test_label_outside_classes(refused, tiny_ade):
    for path in (tiny_ade.root / "annotations" / "training").iterdir():
        with Image.open(path) as image:
            image.point([0, 1, 2, 4] + [0] * 252).save(path)
    sentence = refused("--backbone", "resnet10_b-w8")
    assert re.search(
        r"the label map .*/training/00\d.png holds the value 4; allowed are 0 .* to 3", sentence
    )


def test_damaged_test_label_map(refused, tiny_ade):
    path = tiny_ade.label_map("validation", "004")
    path.write_bytes(path.read_bytes()[:60])
    assert f"the label map {path} cannot be decoded" in refused("--backbone", "resnet10_b-w8")


@pytest.mark.parametrize(
    ("spec", "stride"), [("timm:mobilenetv3_small_050", 8), ("timm:densenet121", 16)]
)
def test_foreign_backbone_trains(tiny_ade, tmp_path, run_seg, capsys, spec, stride):
    work = tmp_path / "work"
    assert run_seg(tiny_ade.root, work, "--backbone", spec) == 0
    result = json.loads((work / "result.json").read_text())
    # What cannot keep to the config's stride of 8 is built at the next coarser one, and says so.
    assert result["protocol"]["backbone"].startswith(f"output stride {stride},")
    assert ("cannot be built at output stride 8" in capsys.readouterr().out) == (stride > 8)
