"""The segmentation command: its metrics and its errors."""

import json
import re

import numpy as np
import pytest
from PIL import Image


def test_metrics_match_confusion_matrix(tiny_ade, tmp_path, run_seg):
    work = tmp_path / "work"
    assert run_seg(tiny_ade.root, work, "--backbone", "resnet10_b-w8") == 0
    result = json.loads((work / "result.json").read_text())
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert list(values) == ["pixacc", "miou", "macc"]
    matrix = np.array(json.loads((work / "evaluation.json").read_text())["confusion"])
    assert values["pixacc"] == pytest.approx(100 * np.trace(matrix) / matrix.sum())


@pytest.fixture
def refused(tiny_ade, tmp_path, run_seg, capsys):
    """Run the task, expect exit status 2 and no result, and return the sentence."""

    def run(*options, data=None, budget="smoke", shows_tree=False):
        work = tmp_path / "work"
        status = run_seg(data or tiny_ade.root, work, *options, budget=budget)
        error = capsys.readouterr().err
        assert status == 2, error
        assert not (work / "result.json").exists()
        assert "Traceback" not in error
        sentence = error[error.index("error: ") + 7 :].strip()
        assert shows_tree or "\n" not in sentence
        return sentence

    return run


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


def test_missing_folder(refused, tmp_path):
    sentence = refused("--backbone", "resnet10_b-w8", data=tmp_path / "nowhere", shows_tree=True)
    nearest = f"The nearest existing folder is {tmp_path}"
    assert f"{tmp_path / 'nowhere'} does not exist. {nearest}" in sentence


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
