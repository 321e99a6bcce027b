"""The tricks of segmentation train together with those of all dense tasks."""

import json

from contract.settings import ROOT
from engine.config import names

TOGETHER = ["clip_grad_norm", "ema", "multi_scale_flip", "sliding"]


def test_trick_list():
    found = names(ROOT / "seg" / "configs" / "tricks")
    assert found == ["clip_grad_value", "multi_scale_flip", "sliding"]


def test_run_with_tricks(tiny_ade, tmp_path, run_seg, checkpoint):
    work = tmp_path / "work"
    words = [word for trick in TOGETHER for word in ("--trick", trick)]
    assert run_seg(tiny_ade.root, work, "--checkpoint", checkpoint, *words) == 0
    result = json.loads((work / "result.json").read_text())
    assert result["tricks"] == TOGETHER
    assert result["protocol"]["tricks"] == ", ".join(TOGETHER)
    averaged = "exponential moving average, mean age 1 epoch(s)"
    assert result["protocol"]["weights"] == averaged
    assert result["checkpoint"]["matched"] == result["checkpoint"]["total"] > 0
