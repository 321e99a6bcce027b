"""Detection and segmentation on a pretended GPU: every trick that touches the model, the loss or the optimiser."""

import json
import runpy

import pytest
import torch

from contract.settings import ROOT
from contract.tasks import TASKS
from engine import config as configs
from engine.task import main
from support.checkpoints import write_checkpoint
from support.dense_world import dense_world
from support.one_step import batches_of, config_of, one_step
from support.pretend_cuda import pretend_cuda

# Keys that decide images or hooks.
ON_THE_CPU = {"ema", "holdout", "train_fraction"}
SMALL = {
    "det": {
        "image_scale": (64, 64),
        "model.train_cfg.rpn_proposal.max_per_img": 20,
        "model.test_cfg.rpn.max_per_img": 20,
        "model.test_cfg.rcnn.max_per_img": 5,
    },
    "seg": {"image_scale": (64, 64), "crop_size": (32, 32)},
}


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


@pytest.mark.parametrize(
    ("name", "config"), [("det", "mini"), ("det", "mini_c4"), ("seg", "mini")]
)
def test_step_equals_that_of_the_cpu(name, config, step):
    expected = step(name, config=config, precision="fp32")
    with pretend_cuda():
        found = step(name, config=config, precision="fp32")
    assert found.devices == {"cuda"}
    assert found.losses == expected.losses
    for key, weight in expected.weights.items():
        torch.testing.assert_close(found.weights[key], weight)


@pytest.mark.parametrize(("name", "trick"), TRICKS)
def test_step_with_trick(name, trick, step):
    with pretend_cuda():
        found = step(name, trick, precision="bf16")
    assert found.devices == {"cuda"}
    assert 0 < found.losses["loss"] < 100


@pytest.mark.parametrize(
    ("name", "config"), [("det", "mini"), ("det", "mini_c4"), ("seg", "mini")]
)
def test_step_in_float16(name, config, step):
    with pretend_cuda():
        found = step(name, config=config, precision="fp16")
    assert found.devices == {"cuda"}
    assert 0 < found.losses["loss"] < 100


@pytest.mark.parametrize("name", SMALL)
def test_whole_run(name, worlds, tmp_path):
    """Averaged weights, pictures, transferability and costs, besides steps and validation."""
    world, work = worlds[name], tmp_path / "work"
    words = ["mini", "--data", str(world.data), "--work-dir", str(work), "--budget", "smoke"]
    words += ["--checkpoint", str(write_checkpoint(tmp_path / "backbone.safetensors"))]
    words += [word for key, value in SMALL[name].items() for word in ("--set", f"{key}={value}")]
    if name == "seg":
        words += ["--trick", "multi_scale_flip"]
    with pretend_cuda():
        assert main(world.task, [*words, "--trick", "ema"]) == 0
    result = json.loads((work / "result.json").read_text())
    assert (result["device"]["type"], result["precision"]["dtype"]) == ("cuda", "bfloat16")
    assert result["checkpoint"]["matched"] == result["checkpoint"]["total"] > 0
    assert result["inference"]["notes"] == []
    costs = {cost["name"] for cost in result["costs"]}
    assert {"latency", "inference_memory", "multiply_adds"} <= costs


