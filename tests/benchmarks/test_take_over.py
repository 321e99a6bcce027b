"""Cells that another run, or another row, has finished already."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from harness_world import ROWS, World, make_suite

from benchmarks.plan import ADOPT
from benchmarks.run import CACHED, COMPLETED
from benchmarks.run_folder import CellKey, finished_cells, take_over
from benchmarks.timings import Cost, total_seconds
from contract.files import read_json


def _second(world: World, name: str = "other") -> World:
    """The same repository and suite with another run folder beside the first."""
    second = World(world.folder, suite=world.suite)
    second.run_dir = world.folder / name
    return second


def test_a_finished_cell_of_another_run_is_taken_over(tmp_path):
    first = World(tmp_path)
    first.run()
    first.journal.unlink()
    (first.work_dir("standard/cls") / "epoch_1.pth").write_text("large", encoding="utf-8")
    second = _second(first)
    # What starts from a classifier is decided when that is there.
    states = {str(cell.key): cell.state for cell in second.plan().cells}
    assert states["standard · cls · seed 0"] == states["scratch · det · seed 0"] == ADOPT
    outcomes = second.run()
    assert {outcome.status for outcome in outcomes.values()} == {CACHED}
    assert second.journal_lines() == []
    assert "standard · cls · seed 0: done in {}, taken over".format(
        first.work_dir("standard/cls").as_posix()
    ) in (second.display.lines)
    for name in ("result.json", "cell.json", "backbone.safetensors"):
        here, there = (w.work_dir("standard/cls") / name for w in (second, first))
        assert here.read_bytes() == there.read_bytes()
    assert not (second.work_dir("standard/cls") / "epoch_1.pth").exists()
    # It stays when the other run is removed.
    shutil.rmtree(first.run_dir)
    assert {outcome.status for outcome in second.run().values()} == {CACHED}
    assert second.journal_lines() == []


def test_a_cell_that_differs_is_run(tmp_path):
    first = World(tmp_path)
    first.run()
    first.journal.unlink()
    second = _second(first)
    second.edit("seg/configs/mini.py", "_base_ = 'mmseg::fcn/fcn.py'\nlr = 2\n")
    outcomes = second.run()
    ran = {name for name, outcome in outcomes.items() if outcome.status == COMPLETED}
    assert ran == {"scratch/seg", "standard/seg", "tricks/seg"}
    assert len(second.journal_lines("start")) == 3


def test_equal_rows_are_run_once(tmp_path):
    twin = replace(ROWS[1], name="twin")
    world = World(tmp_path, suite=make_suite((ROWS[1], twin)))
    plan = world.plan()
    one, other = (plan.find(CellKey(name, "cls", 0)) for name in ("standard", "twin"))
    assert (one.twin, other.twin) == (None, one.key)
    assert other.reason == "once, as standard · cls · seed 0"
    # The detectors and segmentors of both wait for classifiers, whose sameness is not known before.
    costs = [Cost(seconds, 1.0) for seconds in (10, 99, 1, 2, 3, 4)]
    assert total_seconds(plan, costs, 1) == 10 + 1 + 2 + 3 + 4
    outcomes = world.run()
    assert len(outcomes) == 6
    assert len(world.journal_lines("start")) == 3
    assert sorted(outcome.status for outcome in outcomes.values()) == [CACHED] * 3 + [COMPLETED] * 3


def test_half_a_copy_counts_for_nothing(tmp_path, monkeypatch):
    source = tmp_path / "run" / "cells" / "row" / "cls" / "seed-0"
    source.mkdir(parents=True)
    for name in ("a.txt", "b.txt"):
        (source / name).write_text(name, encoding="utf-8")
    calls: list[str] = []

    def link_once(first: str, second: str) -> None:
        calls.append(first)
        if len(calls) > 1:
            raise KeyboardInterrupt
        shutil.copy2(first, second)

    monkeypatch.setattr(os, "link", link_once)
    target = tmp_path / "new" / "seed-0"
    with pytest.raises(KeyboardInterrupt):
        take_over(source, target)
    assert list(target.parent.iterdir()) == []


def test_without_links_files_are_copied(tmp_path, monkeypatch):
    source = tmp_path / "source"
    (source / "examples").mkdir(parents=True)
    (source / "examples" / "0.png").write_text("picture", encoding="utf-8")

    def refuse(first: str, second: str) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    take_over(source, tmp_path / "target")
    assert (tmp_path / "target" / "examples" / "0.png").read_text(encoding="utf-8") == "picture"


def test_only_whole_results_of_runs_are_found(tmp_path: Path):
    world = World(tmp_path)
    world.run()
    found = finished_cells(tmp_path)
    assert len(found) == 8
    path = world.work_dir("scratch/det") / "result.json"
    identity = str((read_json(path) or {})["identity"])
    assert found[identity] == path.parent
    path.write_text("{", encoding="utf-8")
    assert identity not in finished_cells(tmp_path)
    (world.run_dir / "plan.json").unlink()
    assert finished_cells(tmp_path) == {}
