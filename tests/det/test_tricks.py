"""Every trick of detection trains, alone and with all compatible ones; contradictions are refused."""

import json
from pathlib import Path

import pytest

from engine.config import names

ROOT = Path(__file__).parents[2]
# The task's own; tests/engine/dense/test_tricks.py tests those of all dense tasks.
TRICKS = names(ROOT / "det" / "configs" / "tricks")
BOX_LOSSES = {"iou", "giou", "diou", "ciou"}
TOGETHER = [t for t in TRICKS if t not in BOX_LOSSES - {"giou"}]
TOGETHER += ["clip_grad_value", "holdout"]


def _words(tricks):
    return [word for trick in tricks for word in ("--trick", trick)]


@pytest.mark.parametrize("tricks", [[trick] for trick in TRICKS] + [TOGETHER], ids="+".join)
def test_run_with_tricks(tiny_voc, tmp_path, run_det, checkpoint, tricks):
    work = tmp_path / "work"
    precision = ("--precision", "bf16") if tricks == TOGETHER else ()
    options = ("--checkpoint", checkpoint, *_words(tricks), *precision)
    assert run_det(tiny_voc.root.parent, work, *options) == 0
    result = json.loads((work / "result.json").read_text())
    assert result["tricks"] == tricks
    assert result["protocol"]["tricks"] == ", ".join(tricks)
    averaged = "exponential moving average, mean age 0.5 epoch(s)"
    assert result["protocol"].get("weights") == (averaged if "ema" in tricks else None)
    assert result["checkpoint"]["matched"] == result["checkpoint"]["total"] > 0
    losses = [point["loss"] for point in json.loads((work / "curves.json").read_text())["train"]]
    # Two of the four training images are held out, and a batch has two.
    assert len(losses) == (1 if "holdout" in tricks else 2) and all(
        0 < loss < 100 for loss in losses
    )


@pytest.mark.parametrize(
    ("tricks", "message"),
    [
        (
            ("giou", "ema", "ciou"),
            "the tricks 'giou' and 'ciou' both set model.roi_head.bbox_head.loss_bbox.type "
            "('GIoULoss' and 'CIoULoss'); choose one",
        ),
        (
            ("clip_grad_norm", "clip_grad_value"),
            "the tricks 'clip_grad_norm' and 'clip_grad_value' both set optim_wrapper.clip_grad.type "
            "('norm' and 'value'); choose one",
        ),
        (("gioo",), "unknown trick 'gioo'; did you mean 'giou'"),
    ],
)
def test_contradictions(tiny_voc, tmp_path, run_det, capsys, tricks, message):
    options = ("--backbone", "resnet10_b-w8", *_words(tricks))
    assert run_det(tiny_voc.root.parent, tmp_path / "work", *options) == 2
    assert message in capsys.readouterr().err


def test_misspelt_trick_value(tiny_voc, tmp_path, run_det, capsys):
    own = tmp_path / "own.py"
    own.write_text(
        "model = dict(roi_head=dict(bbox_head=dict(type='QualityBBoxHead', iou_alhpa=0.5)))\n"
    )
    options = ("--backbone", "resnet10_b-w8", "--trick", own)
    assert run_det(tiny_voc.root.parent, tmp_path / "work", *options) == 2
    assert "'iou_alhpa'; did you mean 'iou_alpha'" in capsys.readouterr().err
