"""From a prefixed spec to a backbone, and its checkpoint."""

from dataclasses import replace

import pytest
import timm
import torch
from support.checkpoints import METADATA

import backbones
from backbones import OutputStrideError
from backbones.foreign import build
from backbones.foreign.wrapper import ForeignBackbone
from contract.errors import UserError


def _plain(network):
    return {name.removeprefix("trunk."): value for name, value in network.state_dict().items()}


def test_seed_does_not_affect_dilation():
    # The shortcut of ResNet-D differs a little at output stride 8.
    for seed in range(3):
        build._find_form.cache_clear()
        torch.manual_seed(seed)
        assert build.dilated_form("timm:resnet10t", 8) == "native"
        assert torch.initial_seed() == seed


@pytest.mark.parametrize("name", ["Shifted", "Silenced"])
def test_wrong_dilation_is_refused(name):
    with pytest.raises(OutputStrideError, match="it computes something else than at stride 32"):
        backbones.create(f"own_networks:{name}", output_stride=16)


def test_checkpoint_round_trip(tmp_path):
    spec = "timm:mobilenetv3_small_050"
    network = backbones.create(spec)
    path = tmp_path / "b.safetensors"
    backbones.export_checkpoint(network, path, replace(METADATA, spec=spec))
    other = backbones.create(spec, output_stride=16)
    report = backbones.load_checkpoint(other, path, spec=spec)
    assert report.matched == report.total == len(network.state_dict())
    assert backbones.verify_checkpoint(other, path) == report.model_copy(
        update={"feature_error": 0.0}
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("timm:resnet1B", "unknown timm model 'resnet1B'; did you mean 'resnet1"),
        ("torchvision:resnet5", "unknown torchvision model 'resnet5'; did you mean 'resnet50'"),
        ("timm:", "names nothing after the colon; write timm:NAME"),
        ("timm:visformer_tiny", "has maps at the strides 8, 16, 32; pyramids and heads need four"),
        ("timm:mixer_s32_224", "cannot compute on an image of 256×384"),
        ("timm:levit_128s", "cannot compute on an image of 128×192|has maps at the strides"),
        ("nolibrary:Net", "there is no library 'nolibrary' of backbones"),
        ("own_networks:Map", "unknown name in own_networks 'Map'; did you mean 'Maps'"),
        ("own_networks:number", "makes a int; expected a torch.nn.Module"),
        ("own_networks:wants", "cannot be built by a call with no arguments"),
        ("own_networks:Flat", r"returns \(1, 3\) as a feature; expected maps"),
    ],
)
def test_unsuitable_networks_are_refused(spec, message):
    with pytest.raises(UserError, match=message):
        backbones.create(spec)


def test_initialisation_is_the_library_s():
    torch.manual_seed(0)
    network = backbones.create("timm:resnet18")
    torch.manual_seed(0)
    reference = timm.create_model("resnet18", num_classes=0)
    assert isinstance(network, ForeignBackbone)
    assert network.own_initialisation
    for name, value in _plain(network).items():
        assert torch.equal(value, reference.state_dict()[name])


@pytest.mark.parametrize(
    "spec", ["timm:resnet18", "timm:convnext_atto", "timm:vit_tiny_patch16_224"]
)
def test_equal_seeds_give_equal_weights(spec):
    drawn = []
    for _ in range(2):
        torch.manual_seed(5)
        drawn.append(backbones.create(spec, output_stride=8).state_dict())
    assert all(torch.equal(value, drawn[1][name]) for name, value in drawn[0].items())
