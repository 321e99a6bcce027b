"""Finished work by identity: what run folders show of it, and that nothing is overwritten, deleted or trained twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.world import (
    ROWS,
    World,
    clean_environment,
    make_data,
    make_row,
    make_suite,
    name_of,
    wait_for,
)

from benchmarks.plan.plan import CACHED as DONE
from benchmarks.plan.plan import RESUME, RUN
from benchmarks.plan.store import RunKey, Store, identity_in, locked
from benchmarks.plan.timings import Cost, total_seconds
from benchmarks.results.read import read_run
from benchmarks.run.runner import CACHED, COMPLETED
from benchmarks.suite.model import replace
from benchmarks.suite.names import ROOT
from benchmarks.suite.select import Selection
from contract.errors import UserError
from contract.files import read_json, write_json


def _second(world: World, name: str = "other") -> World:
    """The same repository and suite with another run folder beside the first."""
    second = World(world.folder, suite=world.suite)
    second.run_dir = world.folder / name
    return second


def _states(world: World) -> dict[str, str]:
    return {f"{run.row}/{run.task}/{run.seed}": run.state for run in read_run(world.run_dir).runs}


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".locks" not in path.parts
    }


# A run folder is a view of the store


def test_a_run_folder_links_to_the_store_with_the_last_checkpoint_alone(tmp_path):
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


def test_without_links_files_are_copied(tmp_path, monkeypatch):
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


def test_the_log_is_in_the_run_folder_while_the_task_runs(tmp_path):
    world = World(tmp_path)
    seen: list[set[str]] = []
    world.display.on_start = lambda key: seen.append(
        {path.name for path in (world.run_dir / key.path).iterdir()}
    )
    world.run()
    assert all({"run.json", "stage.log"} <= names and "result.json" not in names for names in seen)


def test_the_result_is_shown_last(tmp_path, monkeypatch):
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


def test_a_finished_run_serves_every_run_folder(tmp_path):
    first = World(tmp_path)
    first.run()
    first.journal.unlink()
    second = _second(first)
    assert {outcome.status for outcome in second.run().values()} == {CACHED}
    assert second.journal_lines() == []
    assert set(_states(second).values()) == {"completed"}
    # It stays when the other run folder is removed.
    shutil.rmtree(first.run_dir)
    assert {outcome.status for outcome in second.run().values()} == {CACHED}


def test_a_run_that_differs_is_trained(tmp_path):
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
    one, other = (plan.find(RunKey(name, "cls", 0)) for name in ("standard", "twin"))
    assert (one.twin, other.twin) == (None, one.key)
    assert other.reason == "once, as standard · cls · seed 0"
    # The detectors and segmentors of both wait for classifiers, whose sameness is not known before.
    costs = [Cost(seconds, 1.0) for seconds in (10, 99, 1, 2, 3, 4)]
    assert total_seconds(plan, costs, 1) == 10 + 1 + 2 + 3 + 4
    outcomes = world.run()
    assert len(outcomes) == 6
    assert len(world.journal_lines("start")) == 3
    assert sorted(outcome.status for outcome in outcomes.values()) == [CACHED] * 3 + [COMPLETED] * 3
    assert set(_states(world).values()) == {"completed"}


# Settings forth and back


def test_settings_that_change_back_find_their_earlier_work(tmp_path):
    world = World(tmp_path)
    world.run()
    before = _files(world.folder / "store")
    world.selection = Selection(overrides={"det": {"lr": 2}})
    assert world.run()["standard/det"].status == COMPLETED
    changed = read_json(world.view("standard/det") / "run.json") or {}
    assert changed["components"]["overrides"] == {"lr": "2"}
    world.selection = Selection()
    world.journal.unlink()
    assert {outcome.status for outcome in world.run().values()} == {CACHED}
    assert world.journal_lines() == []
    assert set(_states(world).values()) == {"completed"}
    after = _files(world.folder / "store")
    assert {name: after[name] for name in before} == before
    assert not (world.run_dir / "stale").exists()


def test_an_interrupted_run_resumes_after_settings_went_forth_and_back(tmp_path):
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


def test_an_interrupted_run_resumes_from_another_run_folder(tmp_path):
    first = World(tmp_path, behaviour={"scratch/det": "die"})
    first.run()
    second = _second(first)
    assert second.run()["scratch/det"].status == COMPLETED
    assert second.journal_lines("start scratch/det/seed-0 resumed")


# The table never shrinks


def test_one_row_leaves_the_others_in_the_table(tmp_path):
    world = World(tmp_path)
    world.run()
    before = _states(world)
    world.journal.unlink()
    world.selection = Selection(rows=("tricks",))
    assert set(world.run()) == {"tricks/cls", "tricks/det", "tricks/seg"}
    assert _states(world) == before
    assert world.journal_lines() == []


def test_one_row_first_shows_the_others_as_not_run(tmp_path):
    world = World(tmp_path, selection=Selection(rows=("scratch",), tasks=("seg",)))
    assert set(world.run()) == {"scratch/seg"}
    states = _states(world)
    assert len(states) == 8
    assert {name for name, state in states.items() if state == "completed"} == {"scratch/seg/0"}
    assert set(states.values()) == {"completed", "missing"}


def test_one_task_leaves_the_others_in_the_table(tmp_path):
    world = World(tmp_path)
    world.run()
    world.selection = Selection(tasks=("det",))
    assert {name.split("/")[1] for name in world.run()} == {"cls", "det"}
    assert set(_states(world).values()) == {"completed"}
    # With a changed classifier the results of tasks that did not run are no longer the table's, and come back with it.
    world.edit("cls_train/data.py", "CROP = 2\n")
    world.behaviour = {"standard/cls": "fail", "tricks/cls": "fail"}
    world.run()
    assert {n for n, s in _states(world).items() if s == "completed"} == {
        "scratch/det/0",
        "scratch/seg/0",
    }
    world.edit("cls_train/data.py", "CROP = 1\n")
    world.run()
    assert set(_states(world).values()) == {"completed"}


def test_results_stay_in_the_table_while_their_data_are_away_and_another_task_runs(tmp_path):
    world = World(tmp_path)
    world.run()
    world.data = make_data(det="the folder /data/det does not exist")
    world.selection = Selection(tasks=("seg",))
    world.run()
    assert set(_states(world).values()) == {"completed"}
    # A changed detector is no longer the table's all the same.
    world.edit("det/train.py", "import engine.run\nEPOCHS = 9\n")
    world.run()
    assert {n for n, s in _states(world).items() if s == "stale"} == {
        f"{row.name}/det/0" for row in ROWS
    }


def test_other_seeds_add_to_the_table(tmp_path):
    world = World(tmp_path, suite=make_suite(seeds=(0, 1)))
    world.selection = Selection(seeds=(1,))
    world.run()
    assert {name.rpartition("/")[2] for name in _states(world)} == {"1"}
    world.selection = Selection(seeds=(5,))
    world.run()
    states = _states(world)
    assert {name.rpartition("/")[2] for name in states} == {"1", "5"}
    assert set(states.values()) == {"completed"}
    world.selection = Selection()
    world.run()
    assert read_run(world.run_dir).seeds == (0, 1, 5)
    assert set(_states(world).values()) == {"completed"}
    assert len(world.journal_lines("start")) == 3 * 8


def test_a_row_added_on_the_command_line_stays(tmp_path):
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


def test_the_teacher_stays_when_other_seeds_run(tmp_path):
    teacher = make_row("big", "resnet152_d", recipe="efficient")
    student = make_row("one", "resnet10_d", recipe="efficient", teacher="big")
    suite = replace(make_suite((student,), seeds=(2, 3)), teachers=(teacher,))
    world = World(tmp_path, suite=suite, selection=Selection(seeds=(7,)))
    world.run()
    assert {name_of(run.key) for run in world.plan().wanted} >= {"big/cls/2", "one/cls/7"}
    world.selection = Selection()
    world.run()
    assert len(world.journal_lines("start big/cls")) == 1


# Two harnesses, damage, and folders from before there was a store


def test_two_harnesses_never_train_the_same_at_once(tmp_path):
    first = World(tmp_path, behaviour={"scratch/det": "slow"}, suite=make_suite((ROWS[0],)))
    second = _second(first)
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


def test_two_commands_at_the_same_time_share_the_work(tmp_path):
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
        assert set(_states(world).values()) == {"completed"}


def test_a_damaged_result_is_kept_aside_and_run_again(tmp_path):
    world = World(tmp_path)
    world.run()
    folder = world.stored("scratch/seg")
    (folder / "result.json").write_text("{", encoding="utf-8")
    run = world.plan().find(RunKey("scratch", "seg", 0))
    assert (run.state, run.reason) == (RUN, "will run again: its result.json cannot be read")
    assert world.run()["scratch/seg"].status == COMPLETED
    [kept] = (world.run_dir / "stale").glob("*/scratch/seg/seed-0/result.json")
    assert kept.read_text(encoding="utf-8") == "{"


def _age(world: World) -> None:
    """Turn a run folder into one from before there was a store."""
    for view in world.run_dir.glob("cells/*/*/seed-*"):
        stored = world.folder / "store" / str(identity_in(view))
        shutil.rmtree(view)
        shutil.copytree(stored, view)
        (view / "run.json").rename(view / "cell.json")
    shutil.rmtree(world.folder / "store")


def test_finished_work_of_an_old_run_folder_moves_into_the_store(tmp_path):
    world = World(tmp_path)
    world.run()
    _age(world)
    world.journal.unlink()
    assert {run.state for run in world.plan().runs} == {DONE}
    assert {outcome.status for outcome in world.run().values()} == {CACHED}
    assert world.journal_lines() == []
    assert (world.stored("standard/cls") / "epoch_1.pth").is_file()
    assert set(_states(world).values()) == {"completed"}


def test_old_work_of_other_settings_keeps_its_own_identity(tmp_path):
    world = World(tmp_path)
    world.run()
    old = str(identity_in(world.view("scratch/seg")))
    before = _files(world.stored("scratch/seg"))
    _age(world)
    world.edit("seg/configs/mini.py", "_base_ = 'mmseg::fcn/fcn.py'\nlr = 2\n")
    assert world.run()["scratch/seg"].status == COMPLETED
    assert _files(tmp_path / "store" / old) == before
    assert not (world.run_dir / "stale").exists()


def test_files_without_an_identity_go_to_stale(tmp_path):
    world = World(tmp_path, suite=make_suite((ROWS[0],)))
    folder = world.view("scratch/seg")
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    write_json(folder / "cell.json", {"command": []})
    assert world.run()["scratch/seg"].status == COMPLETED
    [kept] = (world.run_dir / "stale").glob("*/scratch/seg/seed-0/notes.txt")
    assert kept.read_text(encoding="utf-8") == "mine"


def test_a_run_folder_that_was_moved_without_its_store_is_taken_in(tmp_path):
    world = World(tmp_path)
    world.run()
    shutil.rmtree(tmp_path / "store")
    world.journal.unlink()
    assert {outcome.status for outcome in world.run().values()} == {CACHED}
    assert world.journal_lines() == []
    assert (world.stored("tricks/det") / "result.json").is_file()


def test_two_runs_in_one_folder_are_kept_apart(tmp_path):
    code = (
        "import sys; from pathlib import Path; from benchmarks.plan.store import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        owner = rf"Another run \(process {holder.pid}\) is working in"
        with pytest.raises(UserError, match=owner), locked(tmp_path):
            pass
        holder.kill()
        holder.wait()
        # The kernel has let go of the lock.
        with locked(tmp_path):
            pass
