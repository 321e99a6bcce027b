"""Execution of runs: order, skipping, isolation of failures, resuming, interruption."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from support.world import (
    World,
    clean_environment,
    is_alive,
    make_data,
    make_suite,
    pids,
    wait_for,
)

from benchmarks.plan.compute import Gpu
from benchmarks.plan.costs import Cost
from benchmarks.plan.machine import Slots
from benchmarks.plan.plan import CACHED
from benchmarks.plan.timings import Timings
from benchmarks.run.ending import failure_message
from benchmarks.run.place import environment
from benchmarks.run.runner import COMPLETED, FAILED, SKIPPED, Interrupted, Runner
from benchmarks.run.stopping import Ending
from benchmarks.suite.select import Selection
from contract.files import read_json

SERIAL = Slots(1, 2, (), "test")


def test_detection_starts_after_its_classifier(tmp_path):
    world = World(tmp_path, behaviour={"standard/cls": "slow"})
    outcomes = world.run()
    assert len(outcomes) == 8
    assert {outcome.status for outcome in outcomes.values()} == {COMPLETED}
    lines = world.journal_lines()
    order = {" ".join(line.split()[:2]): number for number, line in enumerate(lines)}
    for task in ("det", "seg"):
        for row in ("standard", "tricks"):
            ended = order[f"end {row}/cls/seed-0"]
            assert ended < order[f"start {row}/{task}/seed-0"]
    assert order["start scratch/det/seed-0"] < order["end standard/cls/seed-0"]


@pytest.mark.parametrize("outer", [None, "own:other"])
def test_python_path_of_tasks(tmp_path, monkeypatch, outer):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if outer is not None:
        monkeypatch.setenv("PYTHONPATH", outer)
    world = World(tmp_path)
    world.run()
    expected = f"path {world.root}" + ("" if outer is None else f":{outer}")
    assert set(world.journal_lines("path")) == {expected}


def test_checkpoint_of_same_row_and_seed(tmp_path):
    world = World(tmp_path, suite=make_suite(seeds=(0, 3)))
    world.run()
    read = world.journal_lines("read")
    assert read.count("read weights of seed 0") == read.count("read weights of seed 3") == 4


def test_finished_runs_are_skipped(tmp_path):
    world = World(tmp_path)
    world.run()
    world.journal.unlink()
    outcomes = world.run()
    assert {outcome.status for outcome in outcomes.values()} == {CACHED}
    assert world.journal_lines() == []


def test_changed_identity_reruns_and_keeps_old_result(tmp_path):
    world = World(tmp_path)
    world.run()
    first = read_json(world.view("scratch/seg") / "result.json")
    world.edit("seg/configs/mini.py", "_base_ = 'mmseg::fcn/fcn.py'\nlr = 2\n")
    outcomes = world.run()
    changed = {name for name, outcome in outcomes.items() if outcome.status == COMPLETED}
    assert changed == {"scratch/seg", "standard/seg", "tricks/seg"}
    reason = "scratch · seg · seed 0: started on the CPU (float32): will run again: seg/configs/mini.py differs"
    assert reason in world.display.lines
    assert first is not None
    kept = world.folder / "store" / first["identity"] / "result.json"
    assert read_json(kept) == first
    assert not (world.run_dir / "stale").exists()


def test_unchanged_classifier_spares_transfers(tmp_path):
    world = World(tmp_path)
    world.run()
    world.edit("cls_train/train.py", "EPOCHS = 2\n")
    outcomes = world.run()
    assert outcomes["tricks/cls"].status == COMPLETED
    assert outcomes["tricks/det"].status == outcomes["tricks/seg"].status == CACHED


def test_failure_is_isolated(tmp_path):
    world = World(tmp_path, behaviour={"tricks/cls": "user-error", "scratch/det": "fail"})
    outcomes = world.run()
    assert outcomes["tricks/cls"].status == FAILED
    assert outcomes["tricks/cls"].message == "the image a.jpg is truncated; remove it"
    for task in ("det", "seg"):
        assert outcomes[f"tricks/{task}"].status == SKIPPED
        assert outcomes[f"tricks/{task}"].message == "skipped: its classifier failed"
    assert "RuntimeError: the loss is no number" in outcomes["scratch/det"].message
    done = {name for name, outcome in outcomes.items() if outcome.status == COMPLETED}
    assert done == {"standard/cls", "standard/det", "standard/seg", "scratch/seg"}
    failure = read_json(world.view("scratch/det") / "failure.json")
    assert failure is not None and failure["exit_status"] == 1
    assert "some output" in failure["log_tail"]
    skipped = read_json(world.view("tricks/det") / "failure.json")
    assert skipped is not None and skipped["exit_status"] is None


def test_failed_run_resumes_and_forgets_failure(tmp_path):
    world = World(tmp_path, behaviour={"scratch/det": "fail"})
    world.run()
    world.behaviour.clear()
    outcomes = world.run()
    assert outcomes["scratch/det"].status == COMPLETED
    assert any("start scratch/det/seed-0 resumed" in line for line in world.journal_lines())
    assert not (world.view("scratch/det") / "failure.json").exists()


def test_resumed_run_keeps_thread_count(tmp_path):
    world = World(tmp_path, behaviour={"scratch/det": "die"})
    world.run(Slots(2, 3, (), "test"))
    world.behaviour.clear()
    world.run(Slots(1, 8, (), "test"))
    [line] = [line for line in world.journal_lines("start scratch/det") if "resumed" in line]
    assert "threads=3" in line


@pytest.mark.parametrize("task", ["cls", "det"])
def test_wrong_data_stops_only_dependent_runs(tmp_path, task):
    world = World(tmp_path, data=make_data(**{task: "the folder /data is empty"}))
    outcomes = world.run()
    failed = {name for name, outcome in outcomes.items() if outcome.status == FAILED}
    if task == "det":
        assert failed == {"scratch/det", "standard/det", "tricks/det"}
        assert outcomes["tricks/seg"].status == COMPLETED
    else:
        assert failed == {"standard/cls", "tricks/cls"}
        assert outcomes["scratch/seg"].status == COMPLETED
        assert outcomes["tricks/seg"].status == SKIPPED
    assert all(outcomes[name].message == "the folder /data is empty" for name in failed)


def test_results_survive_missing_data(tmp_path):
    world = World(tmp_path)
    world.run()
    world.data = make_data(det="the folder /data/det does not exist")
    assert world.run()["scratch/det"].status == FAILED
    world.data = make_data()
    assert world.run()["scratch/det"].status == CACHED
    assert not (world.view("scratch/det") / "failure.json").exists()


def test_task_without_result_has_failed(tmp_path):
    world = World(tmp_path, behaviour={"scratch/seg": "no-result"})
    message = world.run()["scratch/seg"].message
    assert message == "the task ended without a complete result.json"


def test_result_counts_despite_exit_status(tmp_path):
    world = World(tmp_path, behaviour={"scratch/seg": "late-failure"})
    assert world.run()["scratch/seg"].status == COMPLETED
    assert any("(exit status 7 after its result)" in line for line in world.display.lines)


def test_fail_fast_ends_running_tasks(tmp_path):
    world = World(tmp_path, behaviour={"standard/cls": "fail", "tricks/cls": "hang"})
    outcomes = world.run(Slots(2, 1, (), "test"), fail_fast=True)
    assert outcomes["standard/cls"].status == FAILED
    assert "tricks/cls" not in outcomes
    assert not any(is_alive(pid) for pid in pids(world.journal_lines("start")))


def test_respects_slots(tmp_path):
    world = World(tmp_path)
    world.run(SERIAL)
    kinds = [line.split()[0] for line in world.journal_lines() if line.startswith(("start", "end"))]
    assert kinds == ["start", "end"] * 8


def test_display_names_device_and_format(tmp_path):
    world = World(tmp_path, selection=Selection(tasks=("cls",)))
    gpu = Gpu("MIG-7", "NVIDIA A100 3g.40gb")
    world.compute = replace(world.compute, device="cuda", gpus=(gpu,))
    world.run(Slots(1, 1, ("MIG-7",), "one per GPU"))
    start = "standard · cls · seed 0: started on GPU MIG-7 (NVIDIA A100 3g.40gb, float32): "
    assert [line for line in world.display.lines if line.startswith(start)]
    (command,) = [line for line in world.journal_lines("start standard")]
    assert "gpu=MIG-7" in command
    record = read_json(world.view("standard/cls") / "run.json")
    assert record is not None
    assert record["command"][record["command"].index("--device") + 1] == "cuda"


@pytest.mark.parametrize(
    ("device", "variable", "given"),
    [("cpu", "CUDA_VISIBLE_DEVICES", ""), ("auto", "HIP_VISIBLE_DEVICES", "5")],
)
def test_variable_of_the_gpus(tmp_path, device, variable, given):
    world = World(tmp_path, selection=Selection(device=device))
    world.compute = replace(world.compute, visible_variable=variable)
    assert environment(world.plan(), 1, "5")[variable] == given
    assert environment(world.plan(), 1, None).get(variable) == ("" if device == "cpu" else None)


def test_tasks_keep_freed_memory_unless_the_user_decides(tmp_path, monkeypatch):
    plan, name = World(tmp_path).plan(), "MALLOC_TRIM_THRESHOLD_"
    assert environment(plan, 1, None)[name] == "1073741824"
    monkeypatch.setenv(name, "7")
    assert environment(plan, 1, None)[name] == "7"


def test_assigns_one_gpu_per_run(tmp_path):
    world = World(tmp_path, behaviour={"standard/cls": "slow", "tricks/cls": "slow"})
    world.run(Slots(2, 1, ("0", "1"), "one per GPU"))
    used = {line.split("gpu=")[1][0] for line in world.journal_lines("start")[:2]}
    assert used == {"0", "1"}


def test_second_run_on_a_gpu_starts_after_the_first_report(tmp_path):
    world = World(tmp_path, behaviour={"standard/cls": "hang", "tricks/cls": "fail"})
    slots = Slots(2, 1, ("0",), "as asked for with --jobs", runs_per_gpu=2)
    outcomes = world.run(slots, fail_fast=True)
    assert outcomes["tricks/cls"].status == FAILED
    # It was still running.
    assert "standard/cls" not in outcomes


def test_longest_chain_starts_first(tmp_path, monkeypatch):
    seconds = {"cls": 50.0, "det": 1.0, "seg": 99.0}
    monkeypatch.setattr(
        "benchmarks.run.runner.expected_seconds",
        lambda plan, threads: {run.key: seconds[run.key.task] for run in plan.wanted},
    )
    world = World(tmp_path)
    world.run(SERIAL)
    starts = [line.split()[1] for line in world.journal_lines("start")]
    assert starts[:3] == ["standard/cls/seed-0", "tricks/cls/seed-0", "scratch/seg/seed-0"]


def test_progress_is_displayed_and_not_logged(tmp_path):
    world = World(tmp_path)
    world.run()
    assert world.display.reports[0]["loss"] == 1.5
    log = (world.view("scratch/det") / "stage.log").read_text(encoding="utf-8")
    assert log == "some output\n"


def test_run_file_holds_identity_and_command(tmp_path):
    world = World(tmp_path)
    world.run()
    record = read_json(world.view("tricks/det") / "run.json")
    result = read_json(world.view("tricks/det") / "result.json")
    assert record is not None and result is not None
    assert record["identity"] == result["identity"]
    assert record["components"]["dataset"] == "fingerprint of det"
    assert "--checkpoint" in record["command"]
    plan = read_json(world.run_dir / "plan.json")
    assert plan is not None
    identities = {(r["row"], r["task"]): r["identity"] for r in plan["runs"]}
    assert identities["tricks", "det"] == record["identity"]


def test_timings_are_recorded(tmp_path):
    world = World(tmp_path)
    world.run()
    plan = world.plan()
    found = Timings(tmp_path / "timings.json").estimate(plan.runs, "full")
    assert found == [Cost(2.0, host_bytes=512 * 2**20)] * len(plan.runs)


def _interrupt(world: World, runner: Runner, tasks: int, number: signal.Signals) -> None:
    """Run until so many tasks wait, send this process a signal, and check that no task is left."""

    def interrupt() -> None:
        wait_for(lambda: len(world.journal_lines("waiting")) == tasks)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted):
        runner.run()
    thread.join()
    assert not any(is_alive(pid) for pid in pids(world.journal_lines()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_ends_tasks_and_resumes_later(tmp_path, number):
    world = World(tmp_path, behaviour={"standard/cls": "hang", "tricks/cls": "family"})
    runner = world.runner(Slots(2, 1, (), "test"))

    _interrupt(world, runner, tasks=2, number=number)
    assert "saved standard/cls/seed-0" in world.journal_lines("saved")
    world.behaviour.clear()
    assert {outcome.status for outcome in world.run().values()} == {COMPLETED}
    assert any("start standard/cls/seed-0 resumed" in line for line in world.journal_lines())


def test_unresponsive_task_is_killed(tmp_path):
    world = World(tmp_path, behaviour={"standard/cls": "stubborn"})
    runner = world.runner(SERIAL, ending=Ending(grace_seconds=0.3))

    _interrupt(world, runner, tasks=1, number=signal.SIGINT)


def test_tasks_die_with_killed_harness(tmp_path):
    script = textwrap.dedent(
        f"""
        import sys
        sys.path[:0] = {[str(Path(__file__).parents[2]), str(Path(__file__).parents[3])]!r}
        from pathlib import Path
        from support.world import World
        World(Path({str(tmp_path)!r}), behaviour={{"standard/cls": "family"}}).run()
        """
    )
    harness = subprocess.Popen([sys.executable, "-c", script], env=clean_environment())
    journal = tmp_path / "journal.txt"

    def family() -> list[int]:
        lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
        started = [line for line in lines if line.startswith("start standard/cls")]
        return pids([*started, *(line for line in lines if line.startswith("child"))])

    processes = wait_for(lambda: family() if len(family()) == 2 else None)
    assert all(is_alive(pid) for pid in processes)
    harness.kill()
    harness.wait()
    wait_for(lambda: not any(is_alive(pid) for pid in processes), seconds=5)


def test_full_disk_ends_run(tmp_path, monkeypatch):
    world = World(tmp_path, behaviour={"standard/cls": "hang"})
    runner = world.runner(SERIAL)

    def fill(key: object) -> None:
        monkeypatch.setattr("benchmarks.run.process.TaskProcess.poll", full)

    def full(self: object) -> None:
        monkeypatch.undo()
        raise OSError(errno.ENOSPC, "No space left on device", "stage.log")

    world.display.on_start = fill
    with pytest.raises(OSError, match="No space left"):
        runner.run()
    assert not any(is_alive(pid) for pid in pids(world.journal_lines("start")))


@pytest.mark.parametrize(
    ("status", "tail", "message"),
    [
        (2, ["output", "error: no such file; make it"], "no such file; make it"),
        (2, ["error: two problems:", "  - a", "  - b"], "two problems:\n  - a\n  - b"),
        (1, ["Traceback", "ValueError: nan", ""], "exit status 1: ValueError: nan"),
        (1, [], "exit status 1: no output"),
        (137, [], "memory ran out"),
        (139, [], "signal 11"),
        (0, [], "without a complete result.json"),
    ],
)
def test_failure_message(status, tail, message):
    assert message in failure_message(status, tail)
