"""Which runs the table of a run folder shows after further commands."""

from __future__ import annotations

from support.store_view import run_states
from support.world import (
    ROWS,
    World,
    make_data,
    make_row,
    make_suite,
    name_of,
)

from benchmarks.results.read import read_run
from benchmarks.run.runner import CACHED
from benchmarks.suite.model import replace
from benchmarks.suite.select import Selection


def test_keeps_other_rows(tmp_path):
    world = World(tmp_path)
    world.run()
    before = run_states(world)
    world.journal.unlink()
    world.selection = Selection(rows=("tricks",))
    assert set(world.run()) == {"tricks/cls", "tricks/det", "tricks/seg"}
    assert run_states(world) == before
    assert world.journal_lines() == []


def test_shows_other_rows_as_not_run(tmp_path):
    world = World(tmp_path, selection=Selection(rows=("scratch",), tasks=("seg",)))
    assert set(world.run()) == {"scratch/seg"}
    states = run_states(world)
    assert len(states) == 8
    assert {name for name, state in states.items() if state == "completed"} == {"scratch/seg/0"}
    assert set(states.values()) == {"completed", "missing"}


def test_keeps_other_tasks(tmp_path):
    world = World(tmp_path)
    world.run()
    world.selection = Selection(tasks=("det",))
    assert {name.split("/")[1] for name in world.run()} == {"cls", "det"}
    assert set(run_states(world).values()) == {"completed"}
    # With a changed classifier the table drops the results of tasks that did not run; they return with it.
    world.edit("cls_train/data.py", "CROP = 2\n")
    world.behaviour = {"standard/cls": "fail", "tricks/cls": "fail"}
    world.run()
    assert {n for n, s in run_states(world).items() if s == "completed"} == {
        "scratch/det/0",
        "scratch/seg/0",
    }
    world.edit("cls_train/data.py", "CROP = 1\n")
    world.run()
    assert set(run_states(world).values()) == {"completed"}


def test_keeps_results_while_data_is_missing(tmp_path):
    world = World(tmp_path)
    world.run()
    world.data = make_data(det="the folder /data/det does not exist")
    world.selection = Selection(tasks=("seg",))
    world.run()
    assert set(run_states(world).values()) == {"completed"}
    # The table drops a changed detector nevertheless.
    world.edit("det/train.py", "import engine.run\nEPOCHS = 9\n")
    world.run()
    assert {n for n, s in run_states(world).items() if s == "stale"} == {
        f"{row.name}/det/0" for row in ROWS
    }


def test_adds_seeds(tmp_path):
    world = World(tmp_path, suite=make_suite(seeds=(0, 1)))
    world.selection = Selection(seeds=(1,))
    world.run()
    assert {name.rpartition("/")[2] for name in run_states(world)} == {"1"}
    world.selection = Selection(seeds=(5,))
    world.run()
    states = run_states(world)
    assert {name.rpartition("/")[2] for name in states} == {"1", "5"}
    assert set(states.values()) == {"completed"}
    world.selection = Selection()
    world.run()
    assert read_run(world.run_dir).seeds == (0, 1, 5)
    assert set(run_states(world).values()) == {"completed"}
    assert len(world.journal_lines("start")) == 3 * 8


def test_keeps_row_of_command_line(tmp_path):
    world = World(tmp_path, selection=Selection(backbones=("resnet18_d",)))
    world.run()
    world.selection = Selection()
    world.journal.unlink()
    outcomes = world.run()
    assert outcomes["resnet18_d/det"].status == CACHED
    assert world.journal_lines() == []
    assert [row.name for row in read_run(world.run_dir).rows][-1] == "resnet18_d"
    world.selection = Selection(backbones=("resnet18_d", "resnet34_d"))
    world.run()
    assert len(read_run(world.run_dir).rows) == 5


def test_keeps_teacher_for_other_seeds(tmp_path):
    teacher = make_row("big", "resnet152_d", recipe="efficient")
    student = make_row("one", "resnet10_d", recipe="efficient", teacher="big")
    suite = replace(make_suite((student,), seeds=(2, 3)), teachers=(teacher,))
    world = World(tmp_path, suite=suite, selection=Selection(seeds=(7,)))
    world.run()
    assert {name_of(run.key) for run in world.plan().wanted} >= {"big/cls/2", "one/cls/7"}
    world.selection = Selection()
    world.run()
    assert len(world.journal_lines("start big/cls")) == 1
