"""The measurement of a run's cost: figures of a short training, which changes nothing."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from support.runners import forget_runs
from support.small_world import SMALL

import backbones
from cls_train.train import Classification
from contract.files import read_json
from datasets.miniworld import generate
from engine.measure import trial
from engine.task import main

SPEC = "resnet10_d-w16"


@pytest.fixture
def figures(tmp_path, monkeypatch):
    forget_runs()
    for name in ("TRAIN_SECONDS", "TEST_SECONDS", "LOAD_SECONDS"):
        monkeypatch.setattr(trial, name, 0.0)
    world = generate(SMALL, tmp_path / "small", processes=1)
    words = f"mini --data {world}/cls --work-dir {tmp_path}/run --backbone {SPEC} --device cpu"
    # Distillation, whose teacher need not exist.
    words += " --trick label_smoothing --trick distillation --teacher /dev/null --set workers=0"
    target = tmp_path / "figures.json"
    assert main(Classification(), [*words.split(), "--measure", str(target)]) == 0
    assert not (tmp_path / "run" / "result.json").exists()
    return read_json(target) or {}


def test_figures_of_a_short_training(figures):
    # By the clock, the first iteration and three more; of 20 images a batch of 32 is full with repetitions.
    assert (figures["iterations"], figures["images"], figures["published_images"]) == (4, 32, 32)
    assert 0 < figures["device_seconds_per_image"] <= figures["seconds_per_image"] < 1
    assert 0 < figures["load_seconds_per_image"] < figures["seconds_per_image"]
    assert 0 < figures["test_seconds_per_image"] < 1
    assert figures["test_images"] >= 10
    assert figures["start_seconds"] > 0 < figures["end_seconds"]
    assert figures["device_bytes"] is None
    assert figures["host_bytes"] > 50e6
    network = backbones.create(SPEC)
    weights = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    head = 10 * (network.feature_info[-1].channels + 1)
    assert figures["exported_bytes"] == weights
    trained = backbones.count_parameters(network) + head
    assert figures["parameters"] == trained
    # Weights, statistics and the momentum of each parameter.
    assert figures["checkpoint_bytes"] == weights + 4 * head + 4 * trained


def test_small_batches_on_a_cpu_never_exceed_a_pass():
    def batch(size: int, pixels: int) -> int:
        hook = dict(type="DeviceBatchHook", size=size)
        loaders = dict(train_dataloader=dict(batch_size=256), val_dataloader=dict(batch_size=64))
        config = Config(dict(custom_hooks=[hook], **loaders))
        trial._take_small_batches(config, pixels)
        assert config.custom_hooks == []
        assert config.val_dataloader.batch_size == min(64, config.train_dataloader.batch_size)
        return config.train_dataloader.batch_size

    assert batch(128, 224 * 224) == 8
    assert batch(128, 64 * 64) == 98
    assert batch(2, 64 * 64) == 2
    # At least two, for batch norm.
    assert batch(16, 2048 * 1024) == 2


def test_time_of_a_test_image_leaves_out_the_first_batch():
    clock = trial._Clock()
    clock.tests = [(5.0, 8), (1.0, 8), (3.0, 8)]
    assert trial._test_seconds(clock) == 0.25
    clock.tests = [(4.0, 2)]
    assert trial._test_seconds(clock) == 2.0


def test_weights_do_not_change():
    config = Config(
        dict(
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1, weight_decay=0.1, momentum=0.9)),
            train_dataloader=dict(sampler=dict(infinite=False)),
            default_hooks={},
            custom_hooks=[],
        )
    )
    trial._train_without_end(config)
    settings = {k: v for k, v in config.optim_wrapper.optimizer.items() if k != "type"}
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], **settings)
    for _ in range(3):
        weight.grad = torch.ones(3)
        optimizer.step()
    assert torch.equal(weight.data, torch.ones(3))
