"""Expected seconds of runs."""

from __future__ import annotations

from support.world import World

from benchmarks.plan.estimate import expected_seconds
from contract.files import write_json


def seconds(world: World) -> dict[str, float]:
    found = expected_seconds(world.plan())
    return {f"{key.row}/{key.task}": value for key, value in found.items()}


def test_without_timings_all_are_equal(tmp_path):
    assert set(seconds(World(tmp_path)).values()) == {1.0}


def test_unknown_runs_take_the_median_and_done_ones_nothing(tmp_path):
    world = World(tmp_path)
    costs = {"det|det/configs/mini.py|resnet10_b|full": 30.0}
    costs["cls|cls_train/configs/mini.py|resnet10_d|full|efficient|cosine"] = 8.0
    timings = {name: {"seconds": value, "memory_mib": 1} for name, value in costs.items()}
    write_json(world.root / "runs" / ".cache" / "timings.json", timings)
    found = seconds(world)
    # Both rows of resnet10_b are known, the third takes their median; no segmentor is known.
    assert [found[f"{row}/det"] for row in ("scratch", "standard", "tricks")] == [30.0] * 3
    assert found["standard/cls"] == found["tricks/cls"] == 8.0
    assert found["scratch/seg"] == 30.0
    world.run()
    assert set(seconds(world).values()) == {0.0}
