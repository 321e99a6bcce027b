"""A run folder with transferability estimates of detection."""

from __future__ import annotations

from pathlib import Path

from support.fake_run import edit_json, result_file, write_run

MAP = {"a": 40.0, "b": 44.0, "c": 42.0, "d": 48.0, "e": 46.0}
LOGME = {"a": -0.21, "b": -0.18, "c": -0.17, "d": -0.02, "e": -0.10}


def write_estimates(
    run_dir: Path, row: str, task: str, seed: int, values: dict[str, float]
) -> None:
    """Add estimates to a result."""
    entries = [
        {"name": name, "value": value, "samples": 752 + seed} for name, value in values.items()
    ]
    edit_json(
        result_file(run_dir, row, task, seed),
        lambda result: result.update(transferability=entries),
    )


def write_estimated_run(folder: Path) -> Path:
    """Write a run of a control and five rows, with LogME as in `LOGME` and one H-score for all."""
    means = {
        row: {
            "cls": {"top1": 60.0, "top5": 90.0},
            "det": {"map": value},
            "seg": {"pixacc": 70.0, "miou": 30.0},
        }
        for row, value in MAP.items()
    }
    scratch = {"cls": None, "det": {"map": 20.0}, "seg": {"pixacc": 60.0, "miou": 20.0}}
    write_run(folder, means={"scratch": scratch, **means}, seeds=(0, 1))
    for row, value in {"scratch": 9.0, **LOGME}.items():
        for seed in (0, 1):
            values = {"logme": value + (0.5 - seed) / 50, "hscore": 1.5}
            write_estimates(folder, row, "det", seed, values)
    return folder


def freeze(run_dir: Path, *rows: str) -> None:
    """Give the detectors of some rows a trick of their own."""
    for row in rows:
        for seed in (0, 1):
            edit_json(
                result_file(run_dir, row, "det", seed),
                lambda result: result.update(tricks=["frozen_backbone"]),
            )
