"""The options on GPUs, from the command line to the shares of the runs and the lines that are printed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console
from support.gpus import stub_nvidia_smi_answers
from support.world import World, make_row, make_suite

from benchmarks import cli
from benchmarks.commands.request import announce, read_selection, selection_of, share_machine
from benchmarks.plan import machine
from benchmarks.plan.compute import Compute, Gpu
from benchmarks.plan.store import RunKey
from benchmarks.suite import model
from benchmarks.suite.select import Selection
from contract.errors import UserError

LOG = "<nvidia_smi_log>{cards}</nvidia_smi_log>\n"
CARD = """<gpu><uuid>GPU-{index}</uuid>
<fb_memory_usage><total>81920 MiB</total><used>{used} MiB</used></fb_memory_usage>
<utilization><gpu_util>0 %</gpu_util></utilization></gpu>"""
COMPUTE = Compute("cuda", gpus=tuple(Gpu(str(index), "NVIDIA A100") for index in range(4)))


@pytest.fixture(autouse=True)
def cores(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "cpu_cores", lambda: 32)
    cards = "".join(CARD.format(index=i, used=62464 if i == 2 else 500) for i in range(4))
    stub_nvidia_smi_answers(monkeypatch, tmp_path, {"-q": LOG.format(cards=cards)})


def share(*words: str, compute: Compute = COMPUTE):
    options = cli.parse(["run", "mini", *words])
    return share_machine(options.jobs, options.gpus, compute, read_selection(options))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), (4, 8, ("0", "1", "2", "3"), "one per GPU", 1)),
        (("--gpus", "3,0"), (2, 16, ("3", "0"), "one per GPU", 1)),
        (("--gpus-per-run", "2"), (2, 8, ("0", "1", "2", "3"), "2 GPUs each", 1)),
        (("--gpus-per-run", "3"), (1, 10, ("0", "1", "2", "3"), "3 GPUs each", 1)),
        # A teacher on all four has as many processes as four runs on one each.
        (("--gpus-per-run", "teachers=4"), (4, 8, ("0", "1", "2", "3"), "one per GPU", 1)),
        (("--gpus", "1", "--jobs", "3"), (3, 10, ("1",), "as asked for with --jobs", 3)),
    ],
)
def test_shares(words, expected):
    slots, _ = share(*words)
    found = (slots.jobs, slots.threads, slots.gpus, slots.reason, slots.runs_per_gpu)
    assert found == expected


def test_processes_of_a_command():
    options = cli.parse(["run", "--gpus-per-run", "2", "--gpus-per-run", "teachers=8"])
    selection = read_selection(options)
    assert (selection.processes, selection.teacher_processes, selection.gloo) == (2, 8, False)
    selection = read_selection(cli.parse(["run", "--processes-per-run", "3"]))
    assert (selection.processes, selection.teacher_processes, selection.gloo) == (3, None, True)


def test_processes_share_a_cpu():
    slots, watch = share("--processes-per-run", "4", compute=Compute())
    assert slots.jobs * 4 * slots.threads <= 32 and watch is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--gpus-per-run", "0"), "--gpus-per-run 0 was given; expected a whole number"),
        (("--gpus-per-run", "students=2"), "or teachers=N"),
        (("--gpus-per-run", "=2"), "or teachers=N"),
        (("--gpus", "0,,1"), "--gpus 0,,1 was given; expected ids separated by commas"),
        (("--gpus", "7"), "the GPUs of this machine are 0"),
        (("--gpus-per-run", "8"), "runs may use 4 whole GPU"),
        (("--gpus", "0,1", "--gpus-per-run", "teachers=4"), "runs may use 2 whole GPU"),
    ],
)
def test_mistakes(words, message):
    with pytest.raises(UserError, match=message):
        share(*words)


def test_a_job_needs_only_the_gpus_of_its_run():
    """On a cluster, the job of a student gets one GPU although the teachers take eight."""
    suite = model.replace(
        make_suite(), teachers=(make_row("big", "resnet152_d", recipe="efficient"),)
    )
    selection = Selection(teacher_processes=8)
    student, teacher = RunKey("tricks", "cls", 0), RunKey("big", "cls", 0)
    assert selection_of(suite, selection, student) == Selection()
    assert selection_of(suite, selection, teacher) == Selection(processes=8)
    assert selection_of(suite, selection, None) is selection
    assert selection_of(suite, Selection(processes=2), teacher) == Selection(processes=2)


def test_busy_gpus_are_printed_unless_they_are_named(tmp_path, capsys):
    world = World(tmp_path)
    world.compute = replace(COMPUTE, dtypes=world.compute.dtypes)
    plan = world.plan()
    busy = "GPU 2: 61 of 80 GiB used by other processes. No run starts on it for now; --gpus uses it all the same."
    for words, printed in (((), True), (("--gpus", "2"), False)):
        announce(Console(width=200), plan, *share(*words))
        assert (busy in capsys.readouterr().out) == printed
