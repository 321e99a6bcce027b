"""Networks with parameters that no map which is read depends on, in several processes."""

import sys
from pathlib import Path

import pytest
import torch
from support.processes import run_ranks
from torch import nn

from engine.adapter import TransferBackbone
from engine.runner.distributed import AnyDeviceDistributedDataParallel, join, leave
from engine.runner.unused_parameters import unused_parameters

SPEC = "own_networks:Branched"


@pytest.fixture(autouse=True)
def own_networks(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "support"))
    yield
    sys.modules.pop("own_networks", None)


class Classifier(nn.Module):
    """Reads the last map, like `cls_train.classifier.ImageClassifier`."""

    maps_read = (-1,)

    def __init__(self, spec, **options):
        super().__init__()
        self.backbone = TransferBackbone(spec, **options)

    def forward(self, x):
        return self.backbone(x)[-1].mean()


class Detector(Classifier):
    """Reads every map."""

    maps_read = None

    def forward(self, x):
        return sum(values.mean() for values in self.backbone(x))


@pytest.mark.parametrize(
    ("spec", "model", "options", "count"),
    [
        # The figure is that of docs/architectures.md, which another function found on another image.
        ("timm:hrnet_w18_small", Classifier, {}, 66),
        ("timm:hrnet_w18_small", Detector, {}, 0),
        ("resnet10_b-w8", Classifier, {}, 0),
        ("resnet10_b-w8", Detector, {"out_indices": (0, 1)}, None),
        ("resnet10_b-w8", Classifier, {"frozen": True}, 0),
    ],
)
def test_parameters_behind_other_maps(spec, model, options, count):
    network = model(spec, **options)
    found = unused_parameters(network)
    if count is None:
        # The maps of the first two stages: the last two get no gradient.
        later = ("net.layer3", "net.layer4")
        expected = [n for n, _ in network.backbone.named_parameters() if n.startswith(later)]
        assert found == expected != []
    else:
        assert len(found) == count


def test_dry_run_changes_nothing():
    network = Classifier("resnet10_b-w8")
    network.backbone.net.layer1.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    drawn = torch.get_rng_state()
    unused_parameters(network)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(parameter.grad is None for parameter in network.parameters())


def _steps(network):
    join("cpu")
    wrapped = AnyDeviceDistributedDataParallel(network)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
    for step in range(3):
        torch.manual_seed(10 * step + torch.distributed.get_rank())
        optimizer.zero_grad()
        # torch complains at the second step about gradients that it still waits for.
        wrapped(torch.randn(2, 3, 64, 64)).backward()
        optimizer.step()
    weights = {name: value.detach() for name, value in wrapped.module.named_parameters()}
    leave()
    return weights, wrapped.find_unused_parameters


@pytest.mark.parametrize(("model", "look"), [(Classifier, True), (Detector, False)])
def test_training_continues_in_two_processes(model, look):
    network = model(SPEC)
    start = {name: value.detach().clone() for name, value in network.named_parameters()}
    (first, looked), (second, _) = run_ranks(_steps, network)
    assert looked is look
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        # No gradient means no step.
        unread = look and "branch" in name
        assert torch.equal(value, start[name]) is unread, name
