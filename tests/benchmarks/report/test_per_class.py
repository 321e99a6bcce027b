"""The report's section on single classes."""

from pathlib import Path

import pytest
from support.fake_run import (
    evaluate_two_detectors,
    work_dir,
    write_evaluation,
    write_run,
)
from support.page import section

TITLE = "By class"


@pytest.fixture
def run_dir(run_dir: Path) -> Path:
    return evaluate_two_detectors(run_dir)


def test_section_states_omissions(run_dir: Path):
    text = section(run_dir, TITLE)
    assert "<b>75.0</b>" in text
    assert "1,234" in text
    assert "Difficult objects count neither as found nor as missed." in text
    assert "1 without an object in the test images (—) are left out of means." in text
    # One figure for all classes, one for the class that has objects.
    assert text.count("<svg") == 2


def test_many_classes_are_folded(run_dir: Path):
    folder = work_dir(run_dir, "tricks", "seg", 0)
    names = [f"class {number}" for number in range(30)]
    write_evaluation(folder, {name: {"pixels": 5, "iou": 0.25} for name in names})
    text = section(run_dir, TITLE)
    assert "<summary>30 classes</summary>" in text
    assert text.count("<b>25.0</b>") == 30


def test_no_section_without_evaluations(tmp_path: Path):
    assert section(write_run(tmp_path / "mini"), TITLE) == ""
