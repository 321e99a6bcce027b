"""The catalogue of tricks against the tree."""

import re
from pathlib import PurePosixPath

import pytest
from support.fake_run import write_json, write_run

from benchmarks.results.read import read_run
from benchmarks.scripts.tricks import LEFT_OUT, PAGE, main, read_speeds, stored_effects
from benchmarks.scripts.tricks_page import catalogue, effects_of_run, format_page, read_trick
from benchmarks.suite.load import load_suite
from benchmarks.suite.names import ROOT
from contract.errors import UserError


def test_headers_name_source_and_test():
    tricks = [trick for own in catalogue().values() for trick in own]
    assert len(tricks) > 50
    for trick in tricks:
        assert (ROOT / trick.test).is_file(), trick
        assert trick.summary.endswith("."), trick
        assert trick.source and trick.library
        # A test that does not name the trick tests something else.
        text = (ROOT / trick.test).read_text(encoding="utf-8")
        assert re.search(rf"(\b|_){trick.name}(\b|_)", text), trick


def test_page_is_current():
    page = PAGE.read_text(encoding="utf-8")
    assert page == format_page(catalogue(), read_speeds(), stored_effects()), (
        "run python -m benchmarks.scripts.tricks write"
    )
    for trick in (trick for own in catalogue().values() for trick in own):
        assert page.count(f"/{trick.name}.py) |") >= 1, trick


def test_suite_covers_classification_tricks():
    rows = load_suite("tricks-mini").rows
    assert rows[0].tricks == ()
    assert [row.tricks for row in rows[1:]] == [
        (trick.name,) for trick in catalogue()["cls"] if trick.name not in LEFT_OUT
    ]
    assert all(row.name == row.tricks[0] for row in rows[1:])


def test_unmeasured_tricks_are_stated():
    page = format_page(catalogue(), None, [])
    assert page.count("not measured") == 2 * len(catalogue()["cls"])
    speeds = {
        "ratios": {"mixup": [0.87, 0.85, 0.91], "cosine": [1.02], "warmup": [0.9, 1.0]},
        "plain_images_per_cpu_second": 200.0,
        "backbone": "b",
        "batch": 32,
        "device": {"name": "CPU"},
        "precision": {"dtype": "bfloat16"},
    }
    page = format_page(catalogue(), speeds, [])
    assert "| × 0.87 | not measured |" in page
    assert "The 2 tricks that change no step lie between 0.95 and 1.02" in page


def test_last_run_of_a_row_counts(tmp_path):
    # The fake runs' three seeds lie at -0.6, 0.1 and 0.5 from these means.
    first = {name: {"cls": {"top1": 50.0}, "det": None, "seg": None} for name in ("plain", "mixup")}
    later = {"mixup": {"cls": {"top1": 60.0}, "det": None, "seg": None}}
    runs = [
        effects_of_run(read_run(write_run(tmp_path / str(number), means=means)))
        for number, means in enumerate((first, later))
    ]
    page = format_page(catalogue(), None, runs)
    assert "the plain recipe itself: 50.0 ± " in page
    assert "| not measured | 60.0 ± " in page
    assert "seeds 0, 1, 2" in page


def test_trick_without_source_is_refused(tmp_path, capsys):
    folder = tmp_path / "cls_train/configs/tricks"
    folder.mkdir(parents=True)
    (folder / "magic.py").write_text('"""Magic.\n\nSource: none\n"""\n', encoding="utf-8")
    with pytest.raises(UserError, match="has no line 'Library: …'"):
        read_trick(PurePosixPath("cls_train/configs/tricks/magic.py"), tmp_path)
    write_json(tmp_path / "plan.json", {"schema_version": 0})
    assert main(["write", "--run-dir", str(tmp_path)]) == 2
    assert "schema_version 0" in capsys.readouterr().err
