"""Detection and segmentation on a pretended GPU: every trick that touches the model, the loss or the optimiser."""

import runpy

import pytest
import torch
from support.dense_world import dense_world
from support.gpu_tasks import ON_THE_CPU, SMALL
from support.one_step import batches_of, config_of, one_step
from support.pretend_cuda import pretend_cuda

from contract.settings import ROOT
from contract.tasks import TASKS
from engine import config as configs


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    return {name: dense_world(name, tmp_path_factory.mktemp(name)) for name in SMALL}


@pytest.fixture(scope="module")
def step(worlds):
    batches = {}

    def take(name, *tricks, config="mini", **options):
        world = worlds[name]
        words = dict(backbone="resnet10_b-w8", overrides=SMALL[name], tricks=tricks, **options)
        made = config_of(world.task, config, world.data, **words)
        # Listing a dataset takes longer than a step.
        if name not in batches:
            batches[name] = batches_of(world.task, made)
        return one_step(world.task, made, batches[name])

    return take


def _tricks(name):
    found = {}
    for folder in TASKS[name].tricks:
        for trick in configs.names(ROOT / folder):
            values = runpy.run_path(str(configs.find(ROOT / folder, trick, "trick")))
            found.setdefault(trick, {key for key in values if not key.startswith("_")})
    return [(name, trick) for trick, keys in found.items() if keys - ON_THE_CPU]


TRICKS = _tricks("det") + _tricks("seg")


def test_tricks_of_several_kinds_are_found():
    expected = {("det", "giou"), ("det", "iou_aware"), ("seg", "sliding"), ("seg", "layer_decay")}
    assert expected <= set(TRICKS)
    assert ("det", "ema") not in TRICKS


@pytest.mark.parametrize(("name", "config"), [("det", "mini"), ("det", "mini_c4"), ("seg", "mini")])
def test_step_equals_that_of_the_cpu(name, config, step):
    expected = step(name, config=config, precision="fp32")
    with pretend_cuda():
        found = step(name, config=config, precision="fp32")
    assert found.devices == {"cuda"}
    # Sums have another order: RoIAlign and the memory layout are chosen by device.
    assert found.losses == pytest.approx(expected.losses, rel=1e-6)
    for key, weight in expected.weights.items():
        torch.testing.assert_close(found.weights[key], weight)


@pytest.mark.parametrize(("name", "trick"), TRICKS)
def test_step_with_trick(name, trick, step):
    with pretend_cuda():
        found = step(name, trick, precision="bf16")
    assert found.devices == {"cuda"}
    assert 0 < found.losses["loss"] < 100


@pytest.mark.parametrize(("name", "config"), [("det", "mini"), ("det", "mini_c4"), ("seg", "mini")])
def test_step_in_float16(name, config, step):
    with pretend_cuda():
        found = step(name, config=config, precision="fp16")
    assert found.devices == {"cuda"}
    assert 0 < found.losses["loss"] < 100
