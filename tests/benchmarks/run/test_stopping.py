"""The end of the time: running tasks save, nothing else starts, and the next command goes on."""

import os
import signal
import threading
import time

import pytest
from support.world import World, wait_for

from benchmarks.plan.machine import Slots
from benchmarks.plan.store import FAILURE_FILE
from benchmarks.run.outcome import COMPLETED, STOPPED
from benchmarks.run.stopping import SAVING, Ending, Stopping, stop_time, stopped_message
from contract.command_line import duration
from contract.errors import UserError

ONE = Slots(1, 1, (), "test")


def _run_until_stopped(world, **options):
    """Run one task at a time until one waits, send SIGUSR1, and return the runner."""
    said = []
    runner = world.runner(ONE, ending=Ending(say=said.append, **options))

    def stop():
        wait_for(lambda: world.journal_lines("waiting"))
        os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=stop)
    thread.start()
    runner.run()
    thread.join()
    assert said == [SAVING] and runner.is_stopped
    return runner


def test_end_of_the_time_saves_and_the_next_command_goes_on(tmp_path):
    world = World(tmp_path, behaviour={"standard/cls": "hang", "tricks/cls": "hang"})
    runner = _run_until_stopped(world)
    (stopped,) = (outcome for outcome in runner.outcomes.values() if outcome.status == STOPPED)
    assert stopped.message == "stopped; it saved its position"
    name = f"{stopped.key.row}/cls"
    assert world.journal_lines("saved") == [f"saved {name}/seed-0"]
    assert not (world.stored(name) / FAILURE_FILE).exists()
    # Nothing was started afterwards.
    assert len(runner.outcomes) < len(world.plan().wanted)
    world.behaviour.clear()
    assert {outcome.status for outcome in world.run().values()} <= {COMPLETED, "cached"}
    assert any(f"start {name}/seed-0 resumed" in line for line in world.journal_lines())


def test_task_that_does_not_save_in_time_is_no_failure(tmp_path):
    world = World(tmp_path, behaviour={"standard/cls": "stubborn", "tricks/cls": "stubborn"})
    runner = _run_until_stopped(world, grace_seconds=0.2)
    messages = [o.message for o in runner.outcomes.values() if o.status == STOPPED]
    assert messages == ["stopped; it goes on from its last checkpoint"]


def test_nothing_starts_after_the_time(tmp_path):
    world = World(tmp_path)
    runner = world.runner(ONE, ending=Ending(time.monotonic()))
    assert runner.run() == [] and runner.is_stopped
    assert not (tmp_path / "journal.txt").exists() or not world.journal_lines("start")


def test_processes_of_torchrun_stop(tmp_path):
    """A cluster may signal the task and not this command; what needs the run waits for the next command."""
    world = World(tmp_path, behaviour={"standard/cls": "torchrun"})
    found = {name: outcome.status for name, outcome in world.run().items()}
    assert {name for name, status in found.items() if status == STOPPED} == {
        "standard/cls", "standard/det", "standard/seg",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "at"), [(None, None), (7200.0, 100 + 7140.0), (30.0, 100 + 27.0)]
)
def test_time_to_save_is_kept(seconds, at):
    assert stop_time(100.0, seconds) == at


def test_signals():
    assert not Stopping([], None).is_due
    assert Stopping([], time.monotonic() - 1).is_due
    assert Stopping([signal.SIGUSR1], None).is_due
    assert Stopping([signal.SIGUSR1, signal.SIGINT, signal.SIGTERM], None).interruptions == 2


@pytest.mark.parametrize(
    ("status", "asked", "reported", "stopped"),
    [(75, False, False, True), (1, False, True, True), (137, True, False, True),
     (137, False, False, False), (1, True, False, False)],
)  # fmt: skip
def test_which_ends_are_stops(status, asked, reported, stopped):
    assert bool(stopped_message(status, asked=asked, reported=reported)) == stopped


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("30s", 30), ("1h30m", 5400), ("0.5h", 1800)]
)
def test_durations(text, seconds):
    assert duration("--stop-after")(text) == seconds


@pytest.mark.parametrize("text", ["2", "h", "2h x", "-2h", "0s", "", "2 h"])
def test_wrong_durations(text):
    with pytest.raises(
        UserError, match=r"--stop-after .* was given; expected a time with its unit"
    ):
        duration("--stop-after")(text)
