"""Finished work by identity: run folders are views, and nothing is overwritten, deleted or trained twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.store_view import run_states, second_world, stored_files
from support.world import (
    ROWS,
    World,
    clean_environment,
    is_alive,
    make_suite,
    pids,
    wait_for,
)

from benchmarks.plan import claims
from benchmarks.plan.document import read_plan
from benchmarks.plan.estimate import runs_left
from benchmarks.plan.machine import Slots
from benchmarks.plan.plan import RESUME, RUN
from benchmarks.plan.store import RunKey, Store, identity_in, write_failure
from benchmarks.run.runner import CACHED, COMPLETED, FAILED
from benchmarks.suite.model import replace
from benchmarks.suite.names import ROOT
from benchmarks.suite.select import Selection
from contract.files import read_json, write_json

# A run folder is a view of the store


def test_view_links_last_checkpoint_only(tmp_path):
    world = World(tmp_path)
    world.run()
    stored, view = world.stored("standard/cls"), world.view("standard/cls")
    assert stored.parent == tmp_path / "store" and not stored.is_symlink()
    shown = {path.name for path in view.iterdir()}
    files = {"run.json", "stage.log", "result.json", "backbone.safetensors", "row.txt"}
    assert shown == {*files, "epoch_2.pth"}
    assert (stored / "epoch_1.pth").is_file() and (stored / "last_checkpoint").is_file()
    for name in shown:
        assert (view / name).samefile(stored / name)


def test_copies_without_hard_links(tmp_path, monkeypatch):
    def refuse(first: str, second: str) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    world = World(tmp_path)
    world.run()
    stored, view = world.stored("standard/det"), world.view("standard/det")
    for name in ("result.json", "stage.log", "run.json"):
        assert (view / name).read_bytes() == (stored / name).read_bytes()
        assert not (view / name).samefile(stored / name)
    assert not list(world.run_dir.rglob("*.pth"))
    assert {o.status for o in world.run().values()} == {CACHED}


def test_log_is_visible_during_run(tmp_path):
    world = World(tmp_path)
    seen: list[set[str]] = []
    world.display.on_start = lambda key: seen.append(
        {path.name for path in (world.run_dir / key.path).iterdir()}
    )
    world.run()
    assert all({"run.json", "stage.log"} <= names and "result.json" not in names for names in seen)


def test_result_is_linked_last(tmp_path, monkeypatch):
    world = World(tmp_path)
    world.run()
    view, identity = world.view("standard/cls"), str(identity_in(world.view("standard/cls")))
    shutil.rmtree(view)
    link, made = os.link, []

    def link_twice(source: Path, target: Path) -> None:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(Path(source).name)
        link(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    with pytest.raises(KeyboardInterrupt):
        Store(world.run_dir).show(RunKey("standard", "cls", 0), identity)
    assert not (view / "result.json").exists()
    monkeypatch.undo()
    assert {o.status for o in world.run().values()} == {CACHED}
    assert (view / "result.json").is_file()


def test_finished_run_serves_every_run_folder(tmp_path):
    first = World(tmp_path)
    first.run()
    first.journal.unlink()
    second = second_world(first)
    assert {outcome.status for outcome in second.run().values()} == {CACHED}
    assert second.journal_lines() == []
    assert set(run_states(second).values()) == {"completed"}
    # It stays after the other run folder is removed.
    shutil.rmtree(first.run_dir)
    assert {outcome.status for outcome in second.run().values()} == {CACHED}


def test_different_run_is_trained(tmp_path):
    first = World(tmp_path)
    first.run()
    first.journal.unlink()
    second = second_world(first)
    second.edit("seg/configs/mini.py", "_base_ = 'mmseg::fcn/fcn.py'\nlr = 2\n")
    outcomes = second.run()
    ran = {name for name, outcome in outcomes.items() if outcome.status == COMPLETED}
    assert ran == {"scratch/seg", "standard/seg", "tricks/seg"}
    assert len(second.journal_lines("start")) == 3


def test_equal_rows_run_once(tmp_path):
    twin = replace(ROWS[1], name="twin")
    world = World(tmp_path, suite=make_suite((ROWS[1], twin)))
    plan = world.plan()
    one, other = (plan.find(RunKey(name, "cls", 0)) for name in ("standard", "twin"))
    assert (one.twin, other.twin) == (None, one.key)
    assert other.reason == "once, as standard · cls · seed 0"
    # The detectors and segmentors of both wait for classifiers, which are not known to be equal before.
    assert [run.key for run in runs_left(plan)] == [
        run.key for run in plan.runs if run is not other
    ]
    outcomes = world.run()
    assert len(outcomes) == 6
    assert len(world.journal_lines("start")) == 3
    assert sorted(outcome.status for outcome in outcomes.values()) == [CACHED] * 3 + [COMPLETED] * 3
    assert set(run_states(world).values()) == {"completed"}


# Settings that change and change back


def test_reverted_settings_find_earlier_work(tmp_path):
    world = World(tmp_path)
    world.run()
    before = stored_files(world.folder / "store")
    world.selection = Selection(overrides={"det": {"lr": 2}})
    assert world.run()["standard/det"].status == COMPLETED
    changed = read_json(world.view("standard/det") / "run.json") or {}
    assert changed["components"]["overrides"] == {"lr": "2"}
    world.selection = Selection()
    world.journal.unlink()
    assert {outcome.status for outcome in world.run().values()} == {CACHED}
    assert world.journal_lines() == []
    assert set(run_states(world).values()) == {"completed"}
    after = stored_files(world.folder / "store")
    assert {name: after[name] for name in before} == before
    assert not (world.run_dir / "stale").exists()


def test_resumes_after_reverted_settings(tmp_path):
    world = World(tmp_path, behaviour={"scratch/det": "die"})
    world.run()
    world.behaviour.clear()
    world.selection = Selection(overrides={"det": {"lr": 2}})
    world.run()
    world.selection = Selection()
    run = world.plan().find(RunKey("scratch", "det", 0))
    assert run.state == RESUME
    assert world.run()["scratch/det"].status == COMPLETED
    assert world.journal_lines("start scratch/det/seed-0 resumed")


def test_resumes_from_another_run_folder(tmp_path):
    first = World(tmp_path, behaviour={"scratch/det": "die"})
    first.run()
    second = second_world(first)
    assert second.run()["scratch/det"].status == COMPLETED
    assert second.journal_lines("start scratch/det/seed-0 resumed")


# Two processes, and damage


def test_concurrent_harnesses_train_once(tmp_path):
    first = World(tmp_path, behaviour={"scratch/det": "slow"}, suite=make_suite((ROWS[0],)))
    second = second_world(first)
    second.behaviour = first.behaviour
    outcomes: list[dict] = []
    # Signals belong to the main thread, so one of the two runs there and holds its locks while the other asks.
    runner = first.runner()
    runner_lock = first.plan().find(RunKey("scratch", "det", 0))
    lock = Store(first.run_dir).lock(str(runner_lock.identity))
    assert lock is not None

    def release() -> None:
        wait_for(lambda: any("waiting for it" in line for line in second.display.lines))
        lock.close()

    thread = threading.Thread(target=release)
    thread.start()
    outcomes.append({name: o.status for name, o in second.run().items()})
    thread.join()
    assert outcomes == [{"scratch/det": COMPLETED, "scratch/seg": COMPLETED}]
    assert {outcome.status for outcome in runner.run()} == {CACHED}
    assert len(first.journal_lines("start")) == 2
    assert len([line for line in second.display.lines if "waiting for it" in line]) == 1


def test_concurrent_commands_share_work(tmp_path):
    World(tmp_path)
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from support.world import World\n"
        "rows = ('standard', 'tricks', 'scratch')\n"
        "slow = {f'{row}/{task}': 'slow' for row in rows for task in ('cls', 'det', 'seg')}\n"
        "world = World(Path(sys.argv[1]), behaviour=slow)\n"
        "world.run_dir = world.folder / sys.argv[2]\n"
        "print(sorted({outcome.status for outcome in world.run().values()}))\n"
    )
    environment = {**clean_environment(), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), name],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "other")
    ]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert all(set(eval(line)) <= {CACHED, COMPLETED} for line in said)
    starts = [line.split()[1] for line in World(tmp_path).journal_lines("start")]
    assert len(starts) == len(set(starts)) == 8
    for name in ("one", "other"):
        world = World(tmp_path)
        world.run_dir = tmp_path / name
        assert set(run_states(world).values()) == {"completed"}


def test_damaged_result_is_set_aside_and_rerun(tmp_path):
    world = World(tmp_path)
    world.run()
    folder = world.stored("scratch/seg")
    (folder / "result.json").write_text("{", encoding="utf-8")
    run = world.plan().find(RunKey("scratch", "seg", 0))
    assert (run.state, run.reason) == (RUN, "will run again: its result.json cannot be read")
    assert world.run()["scratch/seg"].status == COMPLETED
    [kept] = (world.run_dir / "stale").glob("*/scratch/seg/seed-0/result.json")
    assert kept.read_text(encoding="utf-8") == "{"


def test_two_commands_in_one_run_folder(tmp_path):
    """Each run is trained once, and each command ends with all runs done."""
    World(tmp_path)
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from support.world import World\n"
        "rows = ('standard', 'tricks', 'scratch')\n"
        "slow = {f'{row}/{task}': 'slow' for row in rows for task in ('cls', 'det', 'seg')}\n"
        "world = World(Path(sys.argv[1]), behaviour=slow)\n"
        "print(sorted({outcome.status for outcome in world.run().values()}))\n"
    )
    environment = {**clean_environment(), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", script, str(tmp_path)]
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert all(set(eval(line)) <= {CACHED, COMPLETED} for line in said)
    starts = [line.split()[1] for line in World(tmp_path).journal_lines("start")]
    assert len(starts) == len(set(starts)) == 8
    assert set(run_states(World(tmp_path)).values()) == {"completed"}


def test_failure_in_another_command_is_not_repeated(tmp_path):
    world = World(tmp_path, suite=make_suite((ROWS[0],)))
    run = world.plan().find(RunKey("scratch", "det", 0))
    other = Store(world.run_dir).lock(str(run.identity))
    assert other is not None

    def fail() -> None:
        wait_for(lambda: any("waiting for it" in line for line in world.display.lines))
        folder = world.folder / "store" / str(run.identity)
        write_json(folder / "run.json", {"identity": run.identity})
        write_failure(folder, 1, "the loss is no number")
        other.close()

    thread = threading.Thread(target=fail)
    thread.start()
    outcomes = world.run()
    thread.join()
    assert (outcomes["scratch/det"].status, outcomes["scratch/seg"].status) == (FAILED, COMPLETED)
    waiting = f"another command (process {os.getpid()} on {os.uname().nodename}) trains the same"
    assert any(waiting in line for line in world.display.lines)
    assert world.journal_lines("start scratch/det") == []
    assert (world.view("scratch/det") / "failure.json").exists()


def test_run_that_was_taken_over_is_ended(tmp_path, monkeypatch):
    """The claim is gone when this command goes on: its task ends, and the result of the other one counts."""
    world = World(tmp_path, suite=make_suite((ROWS[0],)), behaviour={"scratch/det": "hang"})
    monkeypatch.setattr(claims, "HEARTBEAT_SECONDS", 0.05)
    claim_of = {}

    def take_over(key: RunKey) -> None:
        if key.task == "det" and not claim_of:
            [file] = (world.folder / "store" / ".claims").glob("*/*")
            claim_of["lost"] = file
            world.behaviour.clear()
            wait_for(lambda: world.journal_lines("start scratch/det"))
            file.unlink()

    world.display.on_start = take_over
    outcomes = world.run(Slots(1, 1, (), "test"))
    assert outcomes["scratch/det"].status == COMPLETED
    assert any("ended here: another command took it over" in line for line in world.display.lines)
    first, second = world.journal_lines("start scratch/det")
    assert not is_alive(pids([first])[0]) and "resumed" in second


def test_plans_of_several_commands_are_united(tmp_path):
    """What another command has added to the table stays, whoever writes last."""
    world = World(tmp_path)
    early = world.plan()
    late = World(tmp_path, suite=make_suite(seeds=(0, 3)))
    late.selection = Selection(backbones=("resnet10_c",))
    late.plan().write()
    early.write()
    document = read_plan(world.run_dir)
    assert document.seeds == (0, 3)
    assert [row.name for row in document.rows if row.added] == ["resnet10_c"]
    assert {run.seed for run in document.runs if run.row == "scratch"} == {0, 3}
    assert any(run.row == "resnet10_c" for run in document.runs)
    before = (world.run_dir / "plan.json").stat().st_ino
    early.write()
    assert (world.run_dir / "plan.json").stat().st_ino == before


def test_plan_keeps_identities_that_it_does_not_know(tmp_path):
    world = World(tmp_path)
    world.run()
    plan = world.plan()
    known = [run.identity for run in read_plan(world.run_dir).runs]
    for run in plan.runs:
        run.identity, run.is_decided = None, run.key.row == "scratch"
    plan.write()
    found = read_plan(world.run_dir).runs
    assert [run.identity for run in found] == [
        None if run.row == "scratch" else identity
        for run, identity in zip(found, known, strict=True)
    ]
