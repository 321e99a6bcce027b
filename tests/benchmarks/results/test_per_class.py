"""Scores by class, from hand-written evaluations."""

from pathlib import Path

import numpy as np
import pytest
from fake_run import cell_dir, edit_json, write_json, write_run

from benchmarks.by_class import RECALLS, read_class_table
from benchmarks.report_classes import classes_section
from benchmarks.results import read_run


def _evaluate(run_dir: Path, row: str, seed: int, ap: float, precision: float) -> None:
    """A detector that is equally precise up to full recall, on `cat`; no test image shows a `dog`."""
    folder = cell_dir(run_dir, row, "det", seed)
    entry = {"difficult": 2, "detections": 50, "ignored": 1, "duplicates": 3, "voc10_ap": 0.9}
    write_json(
        folder / "evaluation.json",
        {
            "images": 10,
            "iou": 0.5,
            "absent_classes": ["dog"],
            "classes": {
                "cat": {"objects": 1234, "voc07_ap": ap, "precision": [precision] * 101, **entry},
                "dog": {"objects": 0, "voc07_ap": None, "precision": [], **entry},
            },
        },
    )
    edit_json(
        folder / "result.json",
        lambda result: result["artifacts"].update(evaluation="evaluation.json"),
    )


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "mini")
    for row, ap in (("scratch", 0.5), ("tricks", 0.75)):
        for seed, offset in ((0, -0.125), (1, 0.125)):
            _evaluate(folder, row, seed, ap + offset, ap)
    return folder


def test_means_over_seeds(run_dir: Path):
    table = read_class_table(read_run(run_dir), "det")
    assert table is not None
    assert table.score == "AP (11 points)"
    assert table.classes == ("cat", "dog")
    assert table.counts == {"objects": (1234, 0), "difficult": (2, 2)}
    # Rows in the plan's order; a row without an evaluation has no column.
    assert list(table.values.items()) == [("scratch", (50.0, None)), ("tricks", (75.0, None))]
    assert len(RECALLS) == 101
    for row, level in (("scratch", 50), ("tricks", 75)):
        np.testing.assert_allclose(table.precision[row], [level] * 101)
        assert list(table.class_precision[row]) == ["cat"]


def test_the_section_tells_what_was_left_out(run_dir: Path):
    text = classes_section(read_run(run_dir))
    assert "<b>75.0</b>" in text
    assert "1,234" in text
    assert "Difficult objects count neither as found nor as missed." in text
    assert "1 without an object in the test images (—) are left out of means." in text
    # One figure for all classes, one for the class that has objects.
    assert text.count("<svg") == 2


def test_the_average_is_the_table_s(run_dir: Path):
    for row in ("scratch", "tricks"):
        for seed in (0, 1):
            edit_json(
                cell_dir(run_dir, row, "det", seed) / "result.json",
                lambda result: result["protocol"].update(metric="area AP at IoU 0.5"),
            )
    table = read_class_table(read_run(run_dir), "det")
    assert table is not None
    assert (table.score, table.values["tricks"]) == ("AP (by area)", (90.0, 90.0))


def test_many_classes_are_folded(run_dir: Path):
    folder = cell_dir(run_dir, "tricks", "seg", 0)
    names = [f"class {number}" for number in range(30)]
    write_json(
        folder / "evaluation.json",
        {"classes": {name: {"pixels": 5, "iou": 0.25} for name in names}},
    )
    edit_json(
        folder / "result.json",
        lambda result: result["artifacts"].update(evaluation="evaluation.json"),
    )
    text = classes_section(read_run(run_dir))
    assert "<summary>30 classes</summary>" in text
    assert text.count("<b>25.0</b>") == 30


def test_without_evaluations_there_is_no_section(tmp_path: Path):
    assert classes_section(read_run(write_run(tmp_path / "mini"))) == ""
