"""Passes that do not fit the device: one more try with half the images, and equal statistics in all seeds."""

from __future__ import annotations

import pytest
from support.world import World, make_suite

from benchmarks.plan.machine import Slots
from benchmarks.plan.plan import CACHED
from benchmarks.plan.store import RunKey
from benchmarks.run.runner import COMPLETED, FAILED
from benchmarks.suite.select import Selection
from contract.files import read_json

SERIAL = Slots(1, 2, (), "test")


@pytest.mark.parametrize("changes", ["changes", "same"])
def test_too_large_passes_are_halved_once(tmp_path, changes):
    """The smaller passes are part of the identity exactly if they change batch statistics."""
    world = World(
        tmp_path, suite=make_suite(seeds=(0, 3)), behaviour={"scratch/det": f"memory=4,{changes}"}
    )
    planned = world.plan().find(RunKey("scratch", "det", 0)).identity
    outcomes = world.run(SERIAL)
    assert outcomes["scratch/det"].status == COMPLETED
    starts = [line.split()[1] for line in world.journal_lines("start scratch/det")]
    # The second seed starts with what the first one found.
    assert starts == ["scratch/det/seed-0", "scratch/det/seed-0", "scratch/det/seed-3"]
    assert read_json(world.run_dir / "device_batch.json") == {
        "scratch/det": {"images": 4, "changes_numbers": changes == "changes"}
    }
    run = read_json(world.view("scratch/det") / "run.json")
    assert run is not None and "device_batch_size=4" in run["command"]
    assert (run["identity"] == planned) == (changes == "same")
    # A later command starts with the same size, so everything is done.
    assert {outcome.status for outcome in world.run(SERIAL).values()} == {CACHED}


@pytest.mark.parametrize("slots", [SERIAL, Slots(2, 1, (), "")])
@pytest.mark.parametrize("changes", ["changes", "same"])
def test_seeds_of_a_row_have_equal_batch_statistics(tmp_path, slots, changes):
    """A later seed that needs smaller passes repeats an earlier one, in the same command."""
    world = World(
        tmp_path,
        suite=make_suite(seeds=(0, 3)),
        behaviour={"scratch/det/seed-3": f"memory=4,{changes}"},
    )
    outcomes = world.run(slots)
    assert {outcome.status for outcome in outcomes.values()} == {COMPLETED}
    starts = [line.split()[1] for line in world.journal_lines("start scratch/det/seed-0")]
    assert len(starts) == (2 if changes == "changes" else 1)
    assert {outcome.status for outcome in world.run(slots).values()} == {CACHED}


def test_smaller_passes_of_a_classifier_repeat_its_other_seeds(tmp_path):
    world = World(
        tmp_path,
        suite=make_suite(seeds=(0, 3)),
        behaviour={"standard/cls/seed-3": "memory=4,changes"},
    )
    statuses = {outcome.status for outcome in world.run(SERIAL).values()}
    # What starts from a classifier stays if the repetition has the same weights, as it has here.
    assert statuses <= {COMPLETED, CACHED}
    assert len(world.journal_lines("start standard/cls/seed-0")) == 2
    assert {outcome.status for outcome in world.run(SERIAL).values()} == {CACHED}


def test_passes_are_halved_once_only(tmp_path):
    world = World(tmp_path, behaviour={"scratch/det": "memory=2,same"})
    outcomes = world.run()
    assert outcomes["scratch/det"].status == FAILED
    assert outcomes["scratch/det"].message == "out of device memory in a pass of 4 images"
    # The next command halves once more.
    assert world.run()["scratch/det"].status == COMPLETED


def test_own_size_of_passes_is_kept(tmp_path):
    selection = Selection(overrides={"det": {"device_batch_size": 8}})
    world = World(tmp_path, selection=selection, behaviour={"scratch/det": "memory=4,same"})
    outcomes = world.run()
    assert outcomes["scratch/det"].status == FAILED
    assert len(world.journal_lines("start scratch/det")) == 1
