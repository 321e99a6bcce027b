"""A run in several processes: its command, its identity, and what is left of it when it ends."""

from __future__ import annotations

import os
import re
import signal
import sys
from dataclasses import replace

import psutil
import pytest
from support.world import ROWS, World, make_row, make_suite, wait_for

from benchmarks.plan.compute import Gpu
from benchmarks.plan.machine import Slots
from benchmarks.plan.plan import RUN
from benchmarks.plan.store import RunKey
from benchmarks.run.command import task_command
from benchmarks.run.place import place
from benchmarks.run.process import TaskProcess, terminate
from benchmarks.run.runner import COMPLETED, FAILED
from benchmarks.suite import model
from benchmarks.suite.select import Selection
from contract.files import read_json

CLASSIFIER = RunKey("standard", "cls", 0)
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]


def test_command_is_torchrun_s(tmp_path):
    alone, together = (
        World(tmp_path, selection=Selection(processes=processes)).plan() for processes in (1, 4)
    )
    run, same = alone.find(CLASSIFIER), together.find(CLASSIFIER)
    command = task_command(together, same)
    assert command[:6] == [sys.executable, *TORCHRUN, "4"]
    assert command[6:8] == ["-m", "cls_train.train"]
    assert task_command(alone, run)[:3] == [sys.executable, "-m", "cls_train.train"]
    # Only the number of processes is another one.
    assert run.components is not None and same.components is not None
    assert dict(same.components) == {**run.components, "processes": 4}
    assert "processes" not in run.components


def test_number_of_processes_is_explained(tmp_path):
    World(tmp_path).run()
    again = World(tmp_path, selection=Selection(processes=2)).plan().find(CLASSIFIER)
    assert (again.state, again.reason) == (
        RUN,
        "will run again: the number of processes differs (1 → 2)",
    )


def test_teachers_may_have_more(tmp_path):
    teacher = make_row("big", "resnet152_d", recipe="efficient")
    rows = (ROWS[0], make_row("one", "resnet10_d", recipe="efficient", teacher="big"))
    suite = model.replace(make_suite(rows), teachers=(teacher,))
    plan = World(tmp_path, suite=suite, selection=Selection(teacher_processes=8)).plan()
    assert {str(run.key): run.processes for run in plan.runs if run.key.row != "scratch"} == {
        "big · cls · seed 0": 8,
        "one · cls · seed 0": 1,
        "one · det · seed 0": 1,
        "one · seg · seed 0": 1,
    }


def test_folders_of_other_numbers_differ():
    suffixes = [
        Selection().suffix,
        Selection(processes=2).suffix,
        Selection(teacher_processes=2).suffix,
        Selection(processes=2, teacher_processes=4).suffix,
    ]
    assert suffixes[0] == "" and len(set(suffixes)) == 4


class TorchrunWorld(World):
    """The fake task behind a launcher that reports as torchrun does."""

    def command(self, plan, run):
        words = super().command(plan, replace(run, processes=1))
        script = (
            "import subprocess, sys\n"
            "status = subprocess.call(sys.argv[1:])\n"
            "if status:\n"
            "    print('E1128 17:05:05.99 1 torch/distributed/elastic/multiprocessing/api.py:1] '"
            "f'failed (exitcode: {status}) local_rank: 0')\n"
            "    print('=' * 60)\n"
            "sys.exit(bool(status))"
        )
        return [sys.executable, "-I", "-S", "-c", script, *words]


def test_each_run_gets_its_gpus_and_its_own_message(tmp_path):
    world = TorchrunWorld(
        tmp_path,
        selection=Selection(tasks=("cls", "det"), processes=2),
        behaviour={"tricks/cls": "user-error"},
    )
    gpus = tuple(Gpu(str(index), "NVIDIA A100") for index in range(5))
    world.compute = replace(world.compute, device="cuda", gpus=gpus)
    outcomes = world.run(Slots(2, 3, ("0", "1", "2", "3", "4"), "2 GPUs each"))
    assert outcomes["standard/det"].status == COMPLETED
    assert outcomes["tricks/cls"].status == FAILED
    assert outcomes["tricks/cls"].message == "the image a.jpg is truncated; remove it"
    failure = read_json(world.view("tricks/cls") / "failure.json")
    assert failure is not None and failure["exit_status"] == 2
    assert failure["log_tail"][-1] == "error: the image a.jpg is truncated; remove it"
    used = {line.split("gpu=")[1].split()[0] for line in world.journal_lines("start")}
    assert used <= {"0,1", "2,3"} and len(used) == 2
    assert (
        "standard · cls · seed 0: started on GPUs 0,1 (2 × NVIDIA A100, float32): not run yet"
        in (world.display.lines)
    )


def test_place_on_a_cpu_names_the_processes(tmp_path):
    plan = World(tmp_path, selection=Selection(processes=2)).plan()
    assert place(plan, plan.find(CLASSIFIER), None) == "on the CPU (2 processes, float32)"


# Starts two processes in sessions of their own, as torchrun does, and does not end before them. They ignore the wish to
# end.
LAUNCHER = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
code = "import os, signal, time\\n" \\
    "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\\n" \\
    "print('process', os.getpid(), flush=True); time.sleep(600)"
for _ in range(2):
    subprocess.Popen([sys.executable, "-I", "-S", "-c", code], start_new_session=True)
time.sleep(600)
"""


@pytest.mark.parametrize("killed", ["task", "launcher"])
def test_all_processes_end(tmp_path, killed):
    log = tmp_path / "log"
    process = TaskProcess(
        [sys.executable, "-I", "-S", "-c", LAUNCHER],
        log=log,
        cwd=tmp_path,
        environment={},
        on_progress=lambda report: None,
    )
    ranks: list[psutil.Process] = []
    try:
        found = wait_for(
            lambda: len(ids := re.findall(r"process (\d+)", log.read_text())) == 2 and ids
        )
        ranks = [psutil.Process(int(pid)) for pid in found]
        if killed == "launcher":
            os.kill(ranks[0].ppid(), signal.SIGKILL)
            wait_for(lambda: process.poll() == 137)
        else:
            terminate([process], 0.2, lambda: False)
    finally:
        _, running = psutil.wait_procs(ranks, timeout=5)
        for one in running:
            one.kill()
        terminate([process], 0, lambda: True)
    assert not running
