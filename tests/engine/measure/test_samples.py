"""The samples of transferability estimates; measuring has no side effects."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from torch import nn

import backbones
from backbones import CheckpointMetadata
from engine.adapter import TransferBackbone
from engine.measure import samples
from engine.measure.samples import TRANSFERABILITY, TransferabilityHook, spaced

SPEC = "resnet10_d-w8"


class Images:
    """A set as `SeededDataset` is one: image i is grey of its own level, and has `per_image` regions."""

    def __init__(self, total, used=None, chosen=None):
        self.images_total = total
        self.images = chosen or range(total)
        self.images_used = used or total
        self.dataset = SimpleNamespace(pipeline=self.load, get_data_info=lambda index: index)
        self.loaded = []

    def load(self, index):
        self.loaded.append(index)
        random.random(), np.random.rand(), torch.rand(1)  # like a transform that draws
        return {"inputs": torch.full((3, 64, 96), float(index)), "data_samples": index}


def _preprocess(batch, training):
    assert not training
    return {"inputs": torch.stack(batch["inputs"]), "data_samples": batch["data_samples"]}


def _regions(last, sample, stride):
    """Every location; its label is the image's number modulo 3."""
    assert stride == 32
    found = last.flatten(1).T
    return found, torch.full((len(found),), sample % 3)


def _runner(request, images, tested=None):
    torch.manual_seed(3)
    model = SimpleNamespace(backbone=TransferBackbone(SPEC), data_preprocessor=_preprocess)
    return SimpleNamespace(
        iter=0,
        model=model,
        message_hub=MessageHub(request.node.name),
        logger=MMLogger.get_instance(request.node.name),
        train_dataloader=SimpleNamespace(dataset=images),
        val_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=tested or images)),
    )


def _measured(runner):
    return runner.message_hub.runtime_info[TRANSFERABILITY]


def _state(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def test_leaves_training_state_unchanged(request):
    runner = _runner(request, Images(12))
    net = runner.model.backbone.net
    net.bn1.eval()  # as a frozen part stays
    before = _state(net)
    modes = [module.training for module in net.modules()]
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    TransferabilityHook(_regions, None).before_train(runner)
    assert [score["name"] for score in _measured(runner)["scores"]] == ["logme", "hscore"]
    assert random.getstate() == states[0]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), states[1], strict=True))
    assert torch.equal(torch.get_rng_state(), states[2])
    assert [module.training for module in net.modules()] == modes
    after = _state(net)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize(
    ("total", "most", "taken"),
    [(3, 5, [0, 1, 2]), (10, 5, [0, 2, 4, 6, 8]), (7, 3, [0, 2, 4]), (4, 1, [0]), (0, 5, [])],
)
def test_samples_are_evenly_spaced(total, most, taken):
    assert spaced(total, most) == taken


def test_images_and_samples_are_limited(request, monkeypatch):
    monkeypatch.setattr(samples, "MOST_IMAGES", 8)
    monkeypatch.setattr(samples, "MOST_SAMPLES", 30)
    images = Images(80)
    runner = _runner(request, images)
    TransferabilityHook(_regions, None).before_train(runner)
    assert images.loaded == [0, 10, 20, 30, 40, 50, 60, 70]
    # Six locations an image, of which ⌈30 / 8⌉ = 4 are taken, and of those 32 again 30.
    assert {score["samples"] for score in _measured(runner)["scores"]} == {30}


def test_partial_test_run_limits_images(request):
    tested = Images(9, used=4)
    TransferabilityHook(_regions, None).before_train(_runner(request, Images(80), tested))
    # Training images, by the test pipeline.
    assert tested.loaded == [0, 20, 40, 60]


def test_few_shot_run_uses_its_images(request):
    images = Images(80, chosen=[3, 9, 10, 31, 77])
    TransferabilityHook(_regions, None).before_train(_runner(request, images))
    assert images.loaded == [3, 9, 10, 31, 77]


def test_memory_of_estimates_is_not_that_of_training(request, monkeypatch):
    restarts = []
    monkeypatch.setattr(samples, "restart_peak_memory", lambda: restarts.append(len(images.loaded)))
    images = Images(4)
    TransferabilityHook(_regions, None).before_train(_runner(request, images))
    assert restarts == [4]


def test_resumed_run_keeps_measurements(request):
    runner = _runner(request, Images(12))
    runner.iter = 5
    TransferabilityHook(_regions, None).before_train(runner)
    assert TRANSFERABILITY not in runner.message_hub.runtime_info


def test_leep_needs_classifier_in_checkpoint(request, tmp_path):
    net = backbones.create(SPEC)
    metadata = CheckpointMetadata(
        SPEC, "standard", (), None, (120.0,) * 3, (60.0,) * 3, "RGB", 0, "raw"
    )
    bare, whole = tmp_path / "bare.safetensors", tmp_path / "whole.safetensors"
    head = nn.Linear(64, 5)
    backbones.export_checkpoint(net, bare, metadata)
    backbones.export_checkpoint(net, whole, metadata, head=head)
    assert backbones.load_head(bare) is None
    loaded = backbones.load_head(whole)
    assert loaded is not None and torch.equal(loaded.weight, head.weight)
    assert torch.equal(loaded.bias, head.bias)
    names = {}
    for path in (bare, whole):
        runner = _runner(request, Images(12))
        TransferabilityHook(_regions, path).before_train(runner)
        names[path] = [score["name"] for score in _measured(runner)["scores"]]
    assert names == {bare: ["logme", "hscore"], whole: ["logme", "hscore", "leep"]}
