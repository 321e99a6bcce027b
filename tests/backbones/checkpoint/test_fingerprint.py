"""The feature fingerprint that is stored with the weights."""

import json
import math
from dataclasses import replace

import pytest
import safetensors
import torch
from torch import nn

import backbones
from backbones import CheckpointError, CheckpointMetadata
from backbones.checkpoint.fingerprint import difference, fingerprint

SPEC = "resnet10_d-w8-se"
METADATA = CheckpointMetadata(
    SPEC, "standard", (), None, (120.0, 120.0, 120.0), (58.0, 58.0, 58.0), "RGB", 0, "raw"
)


@pytest.fixture
def network():
    torch.manual_seed(2)
    network = backbones.create(SPEC)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-1, 1)
                module.running_var.uniform_(0.5, 2)
    return network


def test_values_are_those_of_the_maps(network):
    found = fingerprint(network, SPEC)
    with torch.no_grad():
        from backbones.checkpoint.fingerprint import _image

        maps = network.eval()(_image())
    for values, wanted in zip(found, maps, strict=True):
        flat = wanted.flatten()
        last = flat.numel() - 1
        expected = [float(flat[math.floor(i * last / 15 + 1e-6)]) for i in range(16)]
        assert values[:-1] == pytest.approx(expected, rel=1e-3, abs=1e-4)
        assert values[-1] == pytest.approx(float(flat.abs().max()), rel=1e-4)


def test_unpadded_network(tmp_path):
    spec = "inception_v3-valid-x0.1"
    network, path = backbones.create(spec), tmp_path / "backbone.safetensors"
    backbones.export_checkpoint(network, path, replace(METADATA, spec=spec))
    assert [len(values) for values in backbones.read_metadata(path).features] == [17] * 4
    report = backbones.load_checkpoint(backbones.create(spec), path)
    assert report.matched == report.total


def test_leaves_network_unchanged(network):
    state = {n: t.clone() for n, t in network.state_dict().items()}
    random = torch.get_rng_state()
    assert network.training
    fingerprint(network, SPEC)
    assert network.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(t, state[n]) for n, t in network.state_dict().items())


def test_independent_of_layout_mode_and_stride(network):
    wanted = fingerprint(network, SPEC)
    assert fingerprint(network.eval().to(memory_format=torch.channels_last), SPEC) == wanted
    dilated = backbones.create(SPEC, output_stride=8)
    dilated.load_state_dict(network.state_dict())
    assert fingerprint(dilated, SPEC) == wanted


def test_detects_other_computation_with_equal_weights(network, tmp_path):
    path = tmp_path / "b.safetensors"
    backbones.export_checkpoint(network, path, METADATA)
    assert backbones.verify_checkpoint(network, path).feature_error == 0
    # What another version of a library might do: no tensor shows it.
    network.bn1.eps = 1e-3
    with pytest.raises(CheckpointError, match=r"computes other features .* differ by 0\.0"):
        backbones.verify_checkpoint(network, path)
    dilated = backbones.create(SPEC, output_stride=8)
    backbones.load_checkpoint(dilated, path)
    assert backbones.verify_checkpoint(dilated, path).feature_error == 0


def test_non_finite_values_are_skipped(network):
    with torch.no_grad():
        network.layer4[0].bn2.bias.fill_(math.inf)
    assert fingerprint(network, SPEC) == ()


def test_difference_of_two_fingerprints():
    assert difference(((1.0, -4.0, 4.0),), ((1.0, -4.0, 4.0),)) == 0
    assert difference(((1.0, -4.0, 4.0),), ((1.2, -4.0, 4.0),)) == pytest.approx(0.05)
    assert difference(((1.0, 1.0),), ((1.0, 1.0), (1.0, 1.0))) == math.inf
    assert difference(((math.nan, 1.0),), ((1.0, 1.0),)) == math.inf


def test_reads_checkpoint_version_1(network, tmp_path):
    path = tmp_path / "b.safetensors"
    backbones.export_checkpoint(network, path, METADATA)
    with safetensors.safe_open(path, "pt") as file:
        entry = json.loads(file.metadata()["trickbench"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del entry["random"], entry["features"], entry["metadata_sha256"]
    entry["format_version"] = 1
    from backbones.checkpoint.format import _metadata_digest

    entry["metadata_sha256"] = _metadata_digest(entry)
    safetensors.torch.save_file(tensors, path, {"trickbench": json.dumps(entry)})
    assert backbones.read_metadata(path) == replace(METADATA, random=(), features=())
    loaded = backbones.create(SPEC)
    backbones.load_checkpoint(loaded, path, spec=SPEC)
    assert backbones.verify_checkpoint(loaded, path).feature_error is None
