"""The normalisation that the first batch normalisation was trained with, on independently generated images."""

import numpy as np
import pytest
import torch
from torch import nn

import backbones
from backbones import CheckpointError
from backbones.__main__ import main
from backbones.weights.importing import NORMALISATIONS, import_weights, own_normalisation
from backbones.weights.plausibility import (
    LEAST_CORRELATION,
    correlations,
    input_scale_ratios,
    normalisation_warning,
)
from contract.errors import UserError

SPEC = "resnet10_b-w8"


def dead_leaves(count=8, side=128):
    """Discs that cover each other, radii by a power law (Lee, Mumford, Huang 2001); RGB, 0 to 255."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    pictures = np.zeros((count, side, side, 3), np.float32)
    for picture in pictures:
        for _ in range(300):
            radius = 3 / np.sqrt(1 - random.uniform() * (1 - (3 / side) ** 2))
            centre = random.uniform(0, side, 2)
            colour = random.normal(120, 80) + random.normal(0, 12, 3)
            picture[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2] = colour.clip(0, 255)
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def pictures():
    return dead_leaves()


@pytest.fixture(params=[SPEC, "resnet10_d-w8", "mobilenet_v1"])
def spec(request):
    return request.param


def trained(spec, pictures, normalisation):
    """A network whose batch statistics are those of the pictures."""
    mean, std, order = normalisation
    inputs = pictures if order == "RGB" else pictures.flip(1)
    inputs = (inputs - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.manual_seed(1)
    network = backbones.create(spec).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    network(inputs)
    return network


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_correct_normalisation_has_no_warning(spec, pictures, name):
    ratios = input_scale_ratios(trained(spec, pictures, NORMALISATIONS[name]), NORMALISATIONS)
    assert 1 / 1.5 < ratios[name] < 1.5
    assert normalisation_warning(ratios, name) == ("", False)
    assert ratios["caffe"] * 57 == pytest.approx(ratios["imagenet"], rel=0.05)


@pytest.mark.parametrize(
    ("true", "named", "sure"),
    [
        ("imagenet", "caffe", True),
        ("caffe", "imagenet", True),
        ("caffe", "inception", True),
        ("inception", "imagenet", False),
        ("imagenet", "inception", False),
    ],
)
def test_wrong_normalisation_has_warning(pictures, true, named, sure):
    ratios = input_scale_ratios(trained(SPEC, pictures, NORMALISATIONS[true]), NORMALISATIONS)
    warning, certain = normalisation_warning(ratios, named)
    assert f"{true!r} fits" in warning
    assert certain == sure


def test_no_warning_when_none_fits(pictures):
    grey = ((120.0, 120.0, 120.0), (8.0, 8.0, 8.0), "RGB")
    ratios = input_scale_ratios(trained(SPEC, pictures, grey), NORMALISATIONS)
    assert ratios["imagenet"] > 5
    assert normalisation_warning(ratios, "imagenet") == ("", False)


def test_networks_without_input_statistics():
    assert input_scale_ratios(backbones.create(SPEC), NORMALISATIONS) == {}
    assert input_scale_ratios(backbones.create("timm:convnext_atto"), NORMALISATIONS) == {}


@pytest.mark.parametrize("wide", ["resnet10_b-w16", "resnet26_d-w32", "mobilenet_v1"])
def test_sound_network_correlates_at_every_depth(pictures, wide):
    network = trained(wide, pictures, NORMALISATIONS["imagenet"])
    found = correlations(network, NORMALISATIONS["imagenet"])
    norms = [n for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert sorted(found) == sorted(norms)
    assert min(found.values()) > LEAST_CORRELATION


def test_uninformative_statistics_are_skipped(pictures):
    network = trained("resnet10_b-w16", pictures, NORMALISATIONS["imagenet"])
    network.bn1.reset_running_stats()
    found = correlations(network, NORMALISATIONS["imagenet"])
    assert "bn1" not in found
    assert "layer1.0.bn1" in found
    assert correlations(backbones.create(SPEC), NORMALISATIONS["imagenet"]) == {}


@pytest.mark.parametrize("fault", ["transposed", "exchanged"])
def test_shape_preserving_faults_are_found(pictures, tmp_path, fault):
    wide = "resnet18_b-w16"
    file, out = tmp_path / "w.pth", tmp_path / "out.safetensors"
    state = trained(wide, pictures, NORMALISATIONS["imagenet"]).state_dict()
    torch.save(state, file)
    assert import_weights(wide, file, out, NORMALISATIONS["imagenet"]).notes == ()
    one, other = "layer3.0.conv2.weight", "layer3.1.conv2.weight"
    if fault == "transposed":
        state[one] = state[one].transpose(0, 1).contiguous()
    else:
        state[one], state[other] = state[other], state[one]
    torch.save(state, file)
    (note,) = import_weights(wide, file, out, NORMALISATIONS["imagenet"]).notes
    assert "the first is layer3.0.bn2 (correlation" in note


def test_import_warns(pictures, tmp_path, capsys):
    file, out = tmp_path / "w.pth", tmp_path / "out.safetensors"
    torch.save(trained(SPEC, pictures, NORMALISATIONS["caffe"]).state_dict(), file)
    with pytest.raises(CheckpointError, match=r"'caffe' fits .*; name that"):
        import_weights(SPEC, file, out, NORMALISATIONS["imagenet"])
    assert not out.exists()
    assert import_weights(SPEC, file, out, NORMALISATIONS["caffe"]).notes == ()
    torch.save(trained(SPEC, pictures, NORMALISATIONS["inception"]).state_dict(), file)
    (note,) = import_weights(SPEC, file, out, NORMALISATIONS["imagenet"]).notes
    assert "'inception' fits" in note
    words = ["import", SPEC, str(file), "--out", str(out)]
    assert main([*words, "--mean", "127", "127", "127", "--std", "128", "128", "128"]) == 0
    assert "fits" not in capsys.readouterr().out
    assert backbones.read_metadata(out).std == (128, 128, 128)


def test_untrained_network_warns(tmp_path):
    file = tmp_path / "w.pth"
    torch.save(backbones.create(SPEC).state_dict(), file)
    report = import_weights(SPEC, file, tmp_path / "o.safetensors", NORMALISATIONS["imagenet"])
    assert report.notes == ("all batch statistics are those of a fresh network: was it trained?",)


@pytest.mark.parametrize(
    ("mean", "std", "order", "message"),
    [
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "RGB", "multiply both by 255"),
        ((1, 2), (3, 4), "RGB", "three finite numbers"),
        ((1, 2, float("nan")), (3, 4, 5), "RGB", "three finite numbers"),
        ((1, 2, 3), (3, 0, 5), "RGB", "above 0"),
        ((1, 2, 3), (3, 4, 5), "GBR", "unknown order of channels"),
    ],
)
def test_non_finite_statistics(mean, std, order, message):
    with pytest.raises(UserError, match=message):
        own_normalisation(mean, std, order)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--normalisation", "imagenet", "--mean", "1", "2", "3"], "leave out --mean"),
        (["--mean", "1", "2", "3"], "both --mean and --std"),
        (["--channel-order", "BGR"], "--normalisation is missing"),
    ],
)
def test_contradicting_options(words, message, tmp_path, capsys):
    arguments = ["import", SPEC, "w.pth", "--out", str(tmp_path / "o"), *words]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
