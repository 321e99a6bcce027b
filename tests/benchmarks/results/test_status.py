"""Where the runs of a folder stand, as another machine reads it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace as changed

import pytest
from support.world import ROWS, World, make_suite

from benchmarks.cli import main
from benchmarks.plan import claims
from benchmarks.plan.store import RunKey, Store
from benchmarks.results.status import (
    DONE,
    FAILED,
    LOST,
    NEW,
    QUEUED,
    RUNNING,
    STOPPED,
    WAITING,
    read_status,
)
from benchmarks.run.beacon import Beacon
from contract.errors import UserError
from contract.files import read_json, write_json


def states(world: World, jobs: dict[str, str] | None = None) -> dict[str, str]:
    found = read_status(world.run_dir, jobs)
    return {f"{run.key.row}/{run.key.task}": run.state for run in found.runs}


def start(world: World, row: str, task: str) -> Store:
    """Do what a harness does before the task starts, without a claim."""
    run = world.plan().find(RunKey(row, task, 0))
    folder = world.folder / "store" / str(run.identity)
    write_json(folder / "run.json", {"identity": run.identity})
    Store(world.run_dir).show(run.key, str(run.identity))
    return Store(world.run_dir)


def test_states(tmp_path, capsys):
    world = World(tmp_path, behaviour={"standard/seg": "fail"})
    world.plan().write()
    assert set(states(world).values()) == {NEW, WAITING}
    world.run()
    before = states(world)
    assert before.pop("standard/seg") == FAILED and set(before.values()) == {DONE}
    found = {f"{run.key.row}/{run.key.task}": run for run in read_status(world.run_dir).runs}
    failed = found["standard/seg"]
    assert "RuntimeError: the loss is no number" in failed.note
    assert failed.log == world.view("standard/seg") / "stage.log"
    assert main(["status", str(world.run_dir)]) == 1
    printed = capsys.readouterr().out
    assert "FAILED standard · seg · seed 0: the task failed" in printed and "stage.log" in printed
    assert "8 runs: 7 done, 1 failed." in printed
    world.behaviour.clear()
    world.run()
    assert main(["status", str(world.run_dir), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["counts"][DONE] == 8 and answer["seconds_left"] is None
    assert {run["wall_seconds"] for run in answer["runs"]} == {2.0}


def test_running_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    world = World(tmp_path, suite=make_suite((ROWS[0],)))
    plan = world.plan()
    plan.write()
    store = start(world, "scratch", "det")
    identity = str(plan.find(RunKey("scratch", "det", 0)).identity)
    claim = store.lock(identity)
    assert claim is not None
    report = {"step": 3, "steps": 9, "epoch": 1, "epochs": 2, "loss": 1.5, "eta_seconds": 60.0}
    beacon = Beacon(store.folder(identity), "4")
    beacon.report(report)
    beacon.report({"step": 4, "steps": 9})
    assert states(world) == {"scratch/det": RUNNING, "scratch/seg": NEW}
    run = read_status(world.run_dir).runs[0]
    assert run.report == report and run.gpu == "4" and run.job == "12_3"
    assert run.owner == f"process {os.getpid()} on {os.uname().nodename}, Slurm job 12_3"
    main(["status", str(world.run_dir)])
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{run.owner}, GPU 4" in printed
    assert "step 3/9, epoch 1/2, loss 1.500, 1 min 00 s left, heartbeat" in printed

    # Its machine dies.
    owner = changed(claims._ourselves(), host="node7", table="another start")
    write_json(claim._file, owner.__dict__)
    assert states(world)["scratch/det"] == RUNNING
    past = time.time() - claims.STALE_SECONDS - 60
    os.utime(claim._file, (past, past))
    lost = read_status(world.run_dir).runs[0]
    assert lost.state == LOST and "node7, Slurm job 12_3 does not answer" in lost.note
    claim.close()
    stopped = read_status(world.run_dir).runs[0]
    assert stopped.state == STOPPED and stopped.report == report
    beacon.remove()
    assert read_status(world.run_dir).runs[0].report is None


def test_queued_and_skipped_runs(tmp_path):
    world = World(tmp_path, behaviour={"standard/cls": "fail"})
    world.run()
    assert {states(world)[f"standard/{task}"] for task in ("cls", "det", "seg")} == {FAILED}
    jobs = {"cells/standard/cls/seed-0": "12_0"}
    assert states(world, jobs)["standard/cls"] == QUEUED
    found = read_status(world.run_dir, jobs, is_certain=False)
    assert {run.state for run in found.runs if run.key.row == "standard"} == {FAILED}
    (world.view("standard/det") / "failure.json").unlink()
    waiting = {
        run.key.task: run
        for run in read_status(world.run_dir, jobs).runs
        if run.key.row == "standard"
    }
    assert (waiting["det"].state, waiting["det"].note) == (WAITING, "its classifier is queued")


def test_result_of_other_settings_is_not_done(tmp_path):
    world = World(tmp_path)
    world.run()
    content = read_json(world.run_dir / "plan.json")
    assert content is not None
    for run in content["runs"]:
        run["identity"] = "ab12"
    write_json(world.run_dir / "plan.json", content)
    assert DONE not in states(world).values()


def test_time_left(tmp_path):
    """Two seconds for each of two runs that have not started, and one of the run that is running."""
    world = World(tmp_path, suite=make_suite(seeds=(0, 1)))
    world.run()
    found = read_status(world.run_dir)
    assert found.seconds_left() is None
    runs = list(found.runs)
    runs[0] = changed(runs[0], state=RUNNING, report={"eta_seconds": 1.0}, seconds=None)
    for number in (1, 2):
        runs[number] = changed(runs[number], state=NEW, seconds=None)
    assert changed(found, runs=tuple(runs)).seconds_left() == pytest.approx(5.0)
    runs[3] = changed(runs[3], state=RUNNING, report={"eta_seconds": 1.0})
    assert changed(found, runs=tuple(runs)).seconds_left() == pytest.approx(3.0)


def test_folder_without_plan(tmp_path):
    with pytest.raises(UserError, match=r"plan\.json does not exist"):
        read_status(tmp_path)
