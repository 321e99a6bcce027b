"""Scores by class, from hand-written evaluations."""

from pathlib import Path

import numpy as np
import pytest
from support.fake_run import edit_json, evaluate_two_detectors, result_file

from benchmarks.results.per_class import read_class_table
from benchmarks.results.read import read_run
from contract.result import RECALLS


@pytest.fixture
def run_dir(run_dir: Path) -> Path:
    return evaluate_two_detectors(run_dir)


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


def test_average_matches_table(run_dir: Path):
    for row in ("scratch", "tricks"):
        for seed in (0, 1):
            edit_json(
                result_file(run_dir, row, "det", seed),
                lambda result: result["protocol"].update(metric="area AP at IoU 0.5"),
            )
    table = read_class_table(read_run(run_dir), "det")
    assert table is not None
    assert (table.score, table.values["tricks"]) == ("AP (by area)", (90.0, 90.0))
