"""Planning stays fast with many finished runs."""

from __future__ import annotations

import time

from support.world import World, make_row, make_suite

from benchmarks.plan.plan import CACHED
from contract.files import read_json, write_json


def test_thousand_finished_runs_take_two_seconds(tmp_path):
    rows = tuple(
        make_row(f"r{number}", f"resnet10-w{number}", pretrain=False) for number in range(50)
    )
    world = World(tmp_path, suite=make_suite(rows, seeds=tuple(range(10))))
    template = read_json(world.results) or {}
    plan = world.plan()
    assert len(plan.runs) == 1000
    for run in plan.runs:
        folder = plan.work_dir(run)
        result = {**template[run.key.task], "identity": run.identity}
        write_json(folder / "result.json", result)
        write_json(folder / "run.json", {"identity": run.identity, "components": run.components})
    started = time.process_time()
    plan = world.plan()
    seconds = time.process_time() - started
    assert {run.state for run in plan.runs} == {CACHED}
    # About 0.4 s; the bound leaves room for a slow machine.
    assert seconds < 2
