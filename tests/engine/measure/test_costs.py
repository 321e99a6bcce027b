"""The costs of a trained network; measuring them has no side effects."""

import json
import random
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import backbones
from engine import task
from engine.measure import costs
from engine.measure.costs import MOST_RUNS, Timing, time_runs
from engine.task import main

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from cls_train.train import Classification

CPU = torch.device("cpu")
SPEC = "resnet10_b-w8"


class Clock:
    """A clock that only the measured function moves."""

    def __init__(self, monkeypatch):
        self.now, self.runs = 100.0, 0
        monkeypatch.setattr(costs.time, "perf_counter", lambda: self.now)

    def work(self, *seconds):
        def run():
            self.now += seconds[min(self.runs, len(seconds) - 1)]
            self.runs += 1

        return run


def test_search_for_kernels_does_not_count(monkeypatch):
    clock = Clock(monkeypatch)
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(clock.runs))
    timing = time_runs(clock.work(1.3, 0.4, 0.4, 0.002), torch.device("cuda"))
    assert len(timing.seconds) == MOST_RUNS
    assert timing.median == pytest.approx(0.002)
    assert timing.interquartile_range == pytest.approx(0, abs=1e-9)
    # The device has finished its three warm-ups before the clock is read, and then each run.
    assert waits[0] == 3
    assert set(waits) == set(range(3, 3 + MOST_RUNS + 1))


@pytest.mark.parametrize(("seconds", "runs"), [(0.25, 5), (0.03125, 8), (0.75, 5)])
def test_runs_within_time_limit(monkeypatch, seconds, runs):
    clock = Clock(monkeypatch)
    assert len(time_runs(clock.work(0.5, seconds), CPU).seconds) == runs
    assert clock.runs == 1 + runs


def test_slow_network_runs_once(monkeypatch):
    clock = Clock(monkeypatch)
    assert time_runs(clock.work(30.0, 20.0), CPU).seconds == (20.0,)
    assert clock.runs == 2


def test_fast_network_stops_at_limit(monkeypatch):
    clock = Clock(monkeypatch)
    assert len(time_runs(clock.work(0.0), CPU).seconds) == MOST_RUNS


def test_smoke_is_one_run(monkeypatch):
    clock = Clock(monkeypatch)
    assert time_runs(clock.work(0.25), CPU, smoke=True).seconds == (0.25,)
    assert clock.runs == 1


def test_median_and_quartiles():
    timing = Timing((5.0, 1.0, 2.0, 4.0, 30.0))
    assert (timing.median, timing.interquartile_range) == (4.0, 3.0)
    assert Timing((7.0,)).median == 7.0
    assert Timing((7.0,)).interquartile_range is None


def _train(root, *more):
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for label in range(2):
            folder = root / "data" / split / f"c{label}"
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    words = ["imagenet", "--data", str(root / "data"), "--work-dir", str(root / "w")]
    words += ["--backbone", SPEC, "--precision", "fp32", "--set", "image_size=32"]
    for entry in ("test_resize_ratio=1.0", "batch_size=4", "epochs=1", "workers=0"):
        words += ["--set", entry]
    assert main(Classification(), [*words, *more]) == 0
    return json.loads((root / "w" / "result.json").read_text())


def _named(result):
    return {cost["name"]: cost["value"] for cost in result["costs"]}


@pytest.mark.filterwarnings("ignore")
def test_all_costs_without_side_effects(tmp_path, monkeypatch):
    seen = []

    def watched(runner, infer, *, smoke):
        def state():
            tensors = {name: t.clone() for name, t in runner.model.state_dict().items()}
            modes = [module.training for module in runner.model.modules()]
            return tensors, modes, torch.get_rng_state(), random.getstate()

        before = state()
        found = costs.measure(runner, infer, smoke=smoke)
        seen.append((before, state()))
        return found

    monkeypatch.setattr(task, "measure", watched)
    monkeypatch.setattr(costs, "SECONDS", 3600)
    monkeypatch.setattr(costs, "MOST_RUNS", 3)
    result = _train(tmp_path)
    ((tensors, modes, torch_state, python_state), after) = seen[0]
    assert all(torch.equal(tensor, after[0][name]) for name, tensor in tensors.items())
    assert modes == after[1]
    assert torch.equal(torch_state, after[2])
    assert python_state == after[3]

    named, inference = _named(result), result["inference"]
    network = backbones.create(SPEC)
    backbone = backbones.multiply_adds(network, (32, 32)) / 1e9
    assert named["backbone_multiply_adds"] == backbone
    head = network.feature_info[-1].channels * 2 / 1e9
    assert named["multiply_adds"] == pytest.approx(backbone + head, rel=1e-12)
    assert named["epoch_minutes"] == 8 / result["train_images_per_second"] / 60
    assert named["latency"] > 0
    assert named["latency_iqr"] >= 0
    assert named["inference_images_per_second"] > 0
    assert (inference["input"], inference["precision"]) == ("32x32", "float32")
    assert (inference["runs"], inference["batch"], inference["batch_runs"]) == (3, 8, 3)
    assert inference["notes"] == []


@pytest.mark.filterwarnings("ignore")
def test_unmeasurable_cost_keeps_result(tmp_path, monkeypatch):
    def refuse(self, model, image):
        raise NotImplementedError("aten::odd has no shapes\nand a trace")

    monkeypatch.setattr(Classification, "infer", refuse)
    result = _train(tmp_path, "--budget", "smoke")
    # A smoke run: one run, no spread, no batch.
    assert set(_named(result)) == {"epoch_minutes", "latency"}
    assert result["inference"]["notes"] == [
        "multiply-adds could not be measured: aten::odd has no shapes"
    ]
    assert (result["inference"]["runs"], result["inference"]["batch_runs"]) == (1, 0)
