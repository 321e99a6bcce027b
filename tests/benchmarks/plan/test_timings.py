"""The remaining time of the planned runs."""

import pytest
from support.world import World

from benchmarks.plan.plan import CACHED
from benchmarks.plan.store import RunKey
from benchmarks.plan.timings import Cost, Timings, total_seconds


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def test_remaining_time(world, tmp_path):
    plan = world.plan()
    assert Timings(tmp_path / "absent.json").estimate(plan.runs, "full") == [None] * 8
    assert total_seconds(plan, [None] * 8, 2) is None
    costs = [Cost(30.0 if run.key.task == "cls" else 10.0, 500.0) for run in plan.runs]
    assert total_seconds(plan, costs, 2) == 60.0
    # With enough runs at a time, the longest path from a classifier to its transfers is left.
    assert total_seconds(plan, costs, 100) == 40.0
    plan.find(RunKey("standard", "cls", 0)).state = CACHED
    assert total_seconds(plan, costs, 1) == 90.0
