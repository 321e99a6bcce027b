"""Networks of other libraries: the maps they make, their stages, and smaller output strides."""

import copy
import math
import sys
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from timm.layers import Conv2dSame
from torch import nn

import backbones
from backbones import CheckpointMetadata, OutputStrideError
from backbones.foreign import build
from backbones.foreign.dilation import dilate
from backbones.foreign.wrapper import ForeignBackbone
from contract.errors import UserError


@pytest.fixture(autouse=True)
def own_networks(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "support"))
    yield
    sys.modules.pop("own_networks", None)


def _plain(network):
    return {name.removeprefix("trunk."): value for name, value in network.state_dict().items()}


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenetv3_small_050", "tf_efficientnet_lite0", "convnext_atto"]
)
def test_maps_are_timm_s_own(name):
    network = backbones.create(f"timm:{name}").eval()
    classifier = timm.create_model(name, num_classes=0)
    left_over = classifier.load_state_dict(_plain(network), strict=False)
    assert not left_over.unexpected_keys
    reference = timm.create_model(name, features_only=True)
    reference.load_state_dict(
        {k: v for k, v in zip(reference.state_dict(), _in_order(reference, network), strict=True)}
    )
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        found, wanted = network(image), reference.eval()(image)[-4:]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    told = [(f.channels, f.stride) for f in network.feature_info]
    info = reference.feature_info
    assert told == list(zip(info.channels()[-4:], info.reduction()[-4:], strict=True))


def _in_order(reference, network):
    """The tensors of a features-only network, which renames `stages.0` to `stages_0`."""
    ours = {name.replace(".", "_"): value for name, value in _plain(network).items()}
    return [ours[name.replace(".", "_")] for name in reference.state_dict()]


def test_maps_are_torchvision_s_own():
    network = backbones.create("torchvision:resnet18").eval()
    reference = torchvision.models.resnet18().eval()
    left_over = reference.load_state_dict(_plain(network), strict=False)
    assert left_over.missing_keys == ["fc.weight", "fc.bias"]
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(image))))
        for number, values in enumerate(network(image), start=1):
            x = reference.get_submodule(f"layer{number}")(x)
            torch.testing.assert_close(values, x)
    assert [f.name for f in network.feature_info] == ["layer1", "layer2", "layer3", "layer4"]


@pytest.mark.parametrize(
    "spec",
    [
        "timm:mobilenetv3_small_050",
        "timm:swin_s3_tiny_224",
        "own_networks:Maps",
        "own_networks:Classifier",
    ],
)
def test_images_of_any_size_give_whole_maps(spec):
    network = backbones.create(spec)
    network.train()
    image = torch.rand(2, 3, 75, 100, requires_grad=True)
    found = network(image)
    assert [f.stride for f in network.feature_info] == [4, 8, 16, 32]
    for feature, values in zip(network.feature_info, found, strict=True):
        sides = (math.ceil(75 / feature.stride), math.ceil(100 / feature.stride))
        assert values.shape == (2, feature.channels, *sides)
    # Several processes would wait for a gradient that never comes.
    sum(values.square().mean() for values in found).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    assert len(network(image, 2)) == 2


@pytest.mark.parametrize(
    ("spec", "output_stride"),
    [
        ("timm:resnet18", 8),
        # timm's own dilated form forgets a convolution.
        ("timm:gernet_s", 16),
        # It is right at 16 and wrong at 8.
        ("timm:convnext_atto", 16),
        ("timm:convnext_atto", 8),
        # Its padding goes by the size of the input and the stride.
        ("timm:tf_efficientnet_lite0", 16),
        ("timm:tf_efficientnet_lite0", 8),
        # It has none.
        ("timm:mobilenetv4_conv_small_050", 8),
        ("torchvision:mobilenet_v2", 16),
        ("torchvision:mobilenet_v2", 8),
        ("own_networks:Maps", 8),
        ("own_networks:Classifier", 16),
        ("own_networks:Classifier", 8),
        ("own_networks:Averaging", 16),
    ],
)
def test_dilated_maps_are_the_same_on_the_common_grid(spec, output_stride):
    plain = backbones.create(spec).eval()
    dilated = backbones.create(spec, output_stride=output_stride).eval()
    with torch.no_grad():
        for parameter in plain.parameters():
            # Zeros, such as the last scale of a residual branch, would hide what they multiply.
            parameter.add_((parameter == parameter.flatten()[0]) * torch.rand_like(parameter))
    dilated.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 128, 96)
    with torch.no_grad():
        pairs = zip(dilated(image), plain(image), strict=True)
        for feature, (found, wanted) in zip(dilated.feature_info, pairs, strict=True):
            step = found.shape[-1] // wanted.shape[-1]
            assert feature.stride == 128 // found.shape[-2] <= output_stride
            torch.testing.assert_close(
                found[..., ::step, ::step], wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max())
            )


@pytest.mark.parametrize("size", [(64, 96), (61, 47), (58, 33)])
def test_padding_that_goes_by_the_size_begins_where_it_began(size):
    layers = [Conv2dSame(3, 4, 3, stride=2), Conv2dSame(4, 5, 5, stride=2)]
    layers += [Conv2dSame(5, 6, 3, stride=2, dilation=2, bias=False), nn.Conv2d(6, 7, 3, padding=1)]
    plain = nn.Sequential(*layers)
    dilated = copy.deepcopy(plain)
    dilate("four", dilated, 4)
    assert dilated.state_dict().keys() == plain.state_dict().keys()
    image = torch.rand(1, 3, *size)
    with torch.no_grad():
        wanted, found = plain(image), dilated(image)
    assert found.shape[-2:] == (math.ceil(size[0] / 4), math.ceil(size[1] / 4))
    torch.testing.assert_close(found[..., ::2, ::2], wanted)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("timm:swin_s3_tiny_224", "its maps are at 4, 8, 16, 32"),
        ("torchvision:densenet121", "AvgPool2d"),
        ("own_networks:Averaging", "AvgPool2d"),
        # A `Backbone` of the user's that knows no output stride must not pass for one that keeps to it.
        ("own_networks:plain_backbone", "its maps are at 4, 8, 16, 32"),
    ],
)
def test_what_cannot_dilate_says_so(spec, message):
    with pytest.raises(OutputStrideError, match=message):
        backbones.create(spec, output_stride=8)


def test_windows_of_the_published_image_take_multiples_of_it():
    network = backbones.create("timm:maxvit_pico_rw_256").eval()
    assert network.image_multiple == 256
    reference = timm.create_model("maxvit_pico_rw_256", num_classes=0).eval()
    left_over = reference.load_state_dict(_plain(network), strict=False)
    assert not left_over.unexpected_keys
    assert not any(key.startswith(("stem", "stages")) for key in left_over.missing_keys)
    padded = torch.zeros(1, 3, 256, 512)
    padded[..., :75, :290] = image = torch.rand(1, 3, 75, 290)
    with torch.no_grad():
        found = network(image)
        wanted = reference.forward_intermediates(padded, intermediates_only=True)[-4:]
    for feature, ours, theirs in zip(network.feature_info, found, wanted, strict=True):
        shape = [math.ceil(side / feature.stride) for side in image.shape[2:]]
        assert ours.shape == (1, feature.channels, *shape)
        torch.testing.assert_close(ours, theirs[..., : shape[0], : shape[1]])


def test_a_class_may_return_one_map():
    for output_stride in (32, 8):
        network = backbones.create("own_networks:Patches", output_stride=output_stride)
        assert network.plain
        assert [(f.channels, f.stride) for f in network.feature_info] == [(8, 16)]
        assert network(torch.rand(1, 3, 75, 100))[0].shape == (1, 8, 5, 7)


def test_whether_it_dilates_is_no_matter_of_the_seed():
    # The shortcut of ResNet-D differs a little at output stride 8.
    for seed in range(3):
        build._find_form.cache_clear()
        torch.manual_seed(seed)
        assert build.dilated_form("timm:resnet10t", 8) == "native"
        assert torch.initial_seed() == seed


@pytest.mark.parametrize("name", ["Shifted", "Silenced"])
def test_what_dilates_wrongly_is_refused(name):
    with pytest.raises(OutputStrideError, match="it computes something else than at stride 32"):
        backbones.create(f"own_networks:{name}", output_stride=16)


def test_a_class_may_know_its_output_stride():
    network = backbones.create("own_networks:Named", output_stride=8)
    assert network.trunk.asked == 8
    assert [f.stride for f in network.feature_info] == [4, 8, 8, 8]


@pytest.mark.parametrize(
    "spec",
    ["timm:resnet18", "timm:tf_efficientnet_lite0", "timm:convnext_atto", "own_networks:Maps"],
)
def test_stages_hold_every_tensor_once(spec):
    network = backbones.create(spec)
    groups = network.stages()
    held = [
        id(tensor)
        for group in groups
        for module in group
        for tensor in (*module.parameters(), *module.buffers())
    ]
    everything = [id(tensor) for tensor in (*network.parameters(), *network.buffers())]
    assert sorted(held) == sorted(everything)
    assert len(groups) == 5
    assert all(groups)


def test_freezing_goes_by_depth():
    network = backbones.create("timm:resnet18")
    network.freeze(2)
    frozen = {name.split(".")[1] for name, p in network.named_parameters() if not p.requires_grad}
    trained = {name.split(".")[1] for name, p in network.named_parameters() if p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1", "layer2"}
    assert trained == {"layer3", "layer4"}


def test_parameters_of_the_network_itself_are_frozen_too():
    # Its scales lie in the blocks beside their layers, not in modules of their own.
    network = backbones.create("timm:convnext_atto")
    network.freeze(4)
    assert not any(p.requires_grad for p in network.parameters())


def test_stages_of_an_own_network_end_where_its_maps_leave():
    network = backbones.create("own_networks:Maps")
    network.freeze(1)
    frozen = {name.split(".")[2] for name, p in network.named_parameters() if not p.requires_grad}
    # The first of its five maps, at stride 2, is none of the four that are taken.
    assert frozen == {"0", "1"}


def test_maps_that_no_module_returns_do_not_tell_their_stages():
    network = backbones.create("own_networks:Scaled")
    assert network.freeze(-1) == []
    with pytest.raises(UserError, match="frozen_stages=-1"):
        network.freeze(1)


def test_a_copy_has_weights_of_its_own():
    network = backbones.create("own_networks:Classifier").eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = [values.clone() for values in network(image)]
        twin = copy.deepcopy(network)
        for parameter in twin.parameters():
            parameter.zero_()
        for found, wanted in zip(network(image), before, strict=True):
            assert torch.equal(found, wanted)
        assert not any(values.any() for values in twin(image)[-1:])


def test_the_hand_off_takes_them(tmp_path):
    spec = "timm:mobilenetv3_small_050"
    network = backbones.create(spec)
    path = tmp_path / "b.safetensors"
    metadata = CheckpointMetadata(
        spec=spec,
        recipe="standard",
        tricks=(),
        top1=50.0,
        mean=(120.0, 115.0, 100.0),
        std=(58.0, 57.0, 57.0),
        channel_order="RGB",
        seed=0,
        weights="raw",
    )
    backbones.export_checkpoint(network, path, metadata)
    other = backbones.create(spec, output_stride=16)
    receipt = backbones.load_checkpoint(other, path, spec=spec)
    assert receipt.matched == receipt.total == len(network.state_dict())
    assert backbones.verify_checkpoint(other, path) == receipt.model_copy(
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
def test_what_cannot_be_a_backbone_says_why(spec, message):
    with pytest.raises(UserError, match=message):
        backbones.create(spec)


def test_their_weights_start_as_their_library_has_it():
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
