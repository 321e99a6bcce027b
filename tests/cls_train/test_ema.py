"""Averaged weights: the measured weights are the exported ones."""

import json

import pytest
import torch

import backbones
from cls_train.train import Classification
from engine.task import main

MOMENTUM = 0.25


@pytest.fixture
def steps(monkeypatch):
    """The backbone's state at the start and after every optimiser step of a run."""
    from mmengine.hooks import EMAHook

    states = []

    def state(runner):
        net = runner.model.backbone.net
        return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}

    before, after = EMAHook.before_run, EMAHook.after_train_iter

    def before_run(self, runner):
        before(self, runner)
        states.append(state(runner))

    def after_train_iter(self, runner, *args, **kwargs):
        states.append(state(runner))
        after(self, runner, *args, **kwargs)

    monkeypatch.setattr(EMAHook, "before_run", before_run)
    monkeypatch.setattr(EMAHook, "after_train_iter", after_train_iter)
    return states


def _run(image_folder, tiny_config, folder, ema):
    words = [str(tiny_config), "--data", str(image_folder), "--work-dir", str(folder)]
    words += ["--backbone", "resnet10_b-w8", "--precision", "fp32", "--set", "epochs=2"]
    assert main(Classification(), [*words, "--set", f"ema={ema}"]) == 0
    net = backbones.create("resnet10_b-w8")
    path = folder / "backbone.safetensors"
    backbones.load_checkpoint(net, path)
    return net.state_dict(), backbones.read_metadata(path)


@pytest.mark.filterwarnings("ignore")
def test_exports_averaged_weights(image_folder, tiny_config, tmp_path, steps):
    ema = {"type": "EMAHook", "ema_type": "ExponentialMovingAverage", "momentum": MOMENTUM}
    exported, metadata = _run(image_folder, tiny_config, tmp_path, ema)
    assert metadata.weights == "ema"
    assert len(steps) == 1 + 12
    parameters = {name for name, _ in backbones.create("resnet10_b-w8").named_parameters()}
    # mmengine's average starts as a copy of the weights after the first step.
    average = {name: steps[1][name].clone() for name in parameters}
    for state in steps[2:]:
        for name in parameters:
            average[name] = (1 - MOMENTUM) * average[name] + MOMENTUM * state[name]
    moved = 0
    for name, tensor in exported.items():
        # Statistics are not averaged but kept in step.
        expected = average[name] if name in parameters else steps[-1][name]
        torch.testing.assert_close(tensor, expected, rtol=1e-5, atol=1e-6)
        moved += name in parameters and not torch.allclose(tensor, steps[-1][name], atol=1e-5)
    assert moved > 10
    result = json.loads((tmp_path / "result.json").read_text())
    assert metadata.top1 == result["metrics"][0]["value"]


@pytest.mark.filterwarnings("ignore")
def test_measured_accuracy_is_that_of_exported_weights(
    image_folder, tiny_config, tmp_path, monkeypatch
):
    measured = []
    ranks = "cls_train.classifier.ImageClassifier._logits"
    from cls_train.classifier import ImageClassifier

    logits = ImageClassifier._logits

    def watched(self, inputs):
        if not self.training:
            measured.append(self.backbone.net.conv1.weight.detach().clone())
        return logits(self, inputs)

    monkeypatch.setattr(ranks, watched)
    ema = {"type": "EMAHook", "ema_type": "ExponentialMovingAverage", "momentum": MOMENTUM}
    exported, _ = _run(image_folder, tiny_config, tmp_path, ema)
    assert torch.equal(measured[-1], exported["conv1.weight"])


@pytest.mark.filterwarnings("ignore")
def test_exports_last_weights_without_ema(image_folder, tiny_config, tmp_path):
    exported, metadata = _run(image_folder, tiny_config, tmp_path, None)
    assert metadata.weights == "raw"
    last = torch.load(tmp_path / "epoch_2.pth", weights_only=False)["state_dict"]
    for name, tensor in exported.items():
        assert torch.equal(tensor, last[f"backbone.net.{name}"]), name
