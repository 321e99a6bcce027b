"""The backbone as OpenMMLab sees it."""

import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from mmseg.registry import MODELS as MMSEG_MODELS
from torch import nn

import backbones
from backbones import CheckpointError, CheckpointMetadata
from contract.errors import UserError
from engine.adapter import TransferBackbone
from engine.dense.transfer import features

SPEC = "resnet10_b-w8"


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(7)
    net = backbones.create(SPEC)
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            buffer.uniform_(-1, 1)
    metadata = CheckpointMetadata(
        spec=SPEC,
        recipe="standard",
        tricks=(),
        top1=12.5,
        mean=(1.0, 2.0, 3.0),
        std=(4.0, 5.0, 6.0),
        channel_order="RGB",
        seed=0,
        weights="raw",
    )
    path = tmp_path / "backbone.safetensors"
    backbones.export_checkpoint(net, path, metadata)
    return str(path), {name: t.clone() for name, t in net.state_dict().items()}


@pytest.mark.parametrize("registry", [MODELS, MMDET_MODELS, MMSEG_MODELS])
def test_every_registry_finds_it(registry):
    built = registry.build(dict(type="TransferBackbone", spec=SPEC))
    assert type(built) is TransferBackbone


def test_out_indices_keep_order():
    adapter = TransferBackbone(SPEC, out_indices=(1, 3), output_stride=16).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        features = adapter(images)
        everything = adapter.net(images)
    assert isinstance(features, tuple)
    assert [f.shape[-1] for f in features] == [8, 4]
    torch.testing.assert_close(features[0], everything[1])
    torch.testing.assert_close(features[1], everything[3])
    declared = [(f.channels, f.stride) for f in adapter.feature_info]
    assert declared == [(f.shape[1], 64 // f.shape[2]) for f in features]


def test_stage_out_of_range():
    with pytest.raises(UserError, match=r"out_indices \[0, 4\] asks for stage 4 .* stages 0 to 3"):
        TransferBackbone(SPEC, out_indices=(0, 4))


def test_channels_last_keeps_values():
    adapter = TransferBackbone(SPEC).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        plain = adapter(images)[-1]
        adapter.channels_last = True
        adapter.net.to(memory_format=torch.channels_last)
        other = adapter(images)[-1]
    assert other.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(plain, other, atol=1e-4, rtol=1e-4)


def _training_norms(adapter):
    return {
        name.split(".")[1]
        for name, module in adapter.named_modules()
        if isinstance(module, nn.BatchNorm2d) and module.training
    }


@pytest.mark.parametrize(
    ("frozen_stages", "moving"),
    [
        (-1, {"bn1", "layer1", "layer2", "layer3", "layer4"}),
        (0, {"layer1", "layer2", "layer3", "layer4"}),
        (1, {"layer2", "layer3", "layer4"}),
        (4, set()),
    ],
)
def test_frozen_stages_survive_train(frozen_stages, moving):
    adapter = TransferBackbone(SPEC, frozen_stages=frozen_stages)
    for _ in range(2):
        adapter.eval()
        adapter.train()
    assert _training_norms(adapter) == moving
    learning = {n.split(".")[1] for n, p in adapter.named_parameters() if p.requires_grad}
    assert learning - {"conv1"} == moving
    assert ("conv1" in learning) == (frozen_stages < 0)


def test_frozen_parts_are_bit_equal_after_step():
    adapter = TransferBackbone(SPEC, frozen_stages=1).train()
    before = {name: t.clone() for name, t in adapter.net.state_dict().items()}
    learning = [p for p in adapter.parameters() if p.requires_grad]
    adapter(torch.randn(2, 3, 64, 64))[-1].square().mean().backward()
    torch.optim.SGD(learning, lr=1.0, weight_decay=0.1).step()
    after = adapter.net.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"layer2", "layer3", "layer4"}


def test_norm_eval_freezes_statistics_only():
    adapter = TransferBackbone(SPEC, norm_eval=True)
    adapter.train()
    assert adapter.training
    assert _training_norms(adapter) == set()
    before = adapter.net.bn1.running_mean.clone()
    adapter(torch.randn(2, 3, 32, 32) + 5)
    assert torch.equal(adapter.net.bn1.running_mean, before)
    assert adapter.net.bn1.weight.requires_grad
    # Without it the same batch moves them.
    other = TransferBackbone(SPEC).train()
    other(torch.randn(2, 3, 32, 32) + 5)
    assert not torch.equal(other.net.bn1.running_mean, torch.zeros_like(before))


def test_loaded_weights_survive_init_weights(checkpoint):
    path, tensors = checkpoint

    class Detector(BaseModule):
        def __init__(self):
            # Every convolution that an init_cfg can reach would become 9.
            super().__init__(init_cfg=dict(type="Constant", layer="Linear", val=9))
            self.backbone = MMDET_MODELS.build(
                dict(type="TransferBackbone", spec=SPEC, checkpoint=path)
            )
            self.head = nn.Linear(2, 2)

    detector = Detector()
    detector.init_weights()
    assert torch.equal(detector.head.weight, torch.full((2, 2), 9.0))
    for name, tensor in detector.backbone.net.state_dict().items():
        assert torch.equal(tensor, tensors[name]), name
    report = detector.backbone.verify(path)
    assert report.feature_error == 0.0
    assert (report.matched, report.total) == (len(tensors), len(tensors))


def test_loading_draws_nothing(checkpoint):
    path, tensors = checkpoint
    torch.manual_seed(99)
    loaded = TransferBackbone(SPEC, checkpoint=path).net.state_dict()
    fresh = TransferBackbone(SPEC).net.state_dict()
    assert torch.equal(loaded["conv1.weight"], tensors["conv1.weight"])
    assert not torch.equal(fresh["conv1.weight"], tensors["conv1.weight"])


def test_refuses_checkpoint_of_other_spec(checkpoint):
    with pytest.raises(CheckpointError, match=rf"holds {SPEC}, the task builds resnet10_d-w8"):
        TransferBackbone("resnet10_d-w8", checkpoint=checkpoint[0])


@pytest.mark.parametrize("name", ["layer3.0.conv2.weight", "bn1.running_var", "layer4.0.bn1.bias"])
def test_verify_finds_one_changed_element(checkpoint, name):
    adapter = TransferBackbone(SPEC, checkpoint=checkpoint[0], channels_last=True)
    assert adapter.verify(checkpoint[0]).matched == len(adapter.net.state_dict())
    tensor = adapter.net.state_dict()[name]
    first = (0,) * tensor.dim()
    tensor[first] = torch.nextafter(tensor[first], torch.tensor(10.0))
    with pytest.raises(CheckpointError, match=f"1 of .* tensors .* differ .*{name}"):
        adapter.verify(checkpoint[0])


PLAIN = "timm:vit_tiny_patch16_224"


def test_plain_transformer_map_counts():
    images = torch.randn(1, 3, 75, 100)
    classifying = TransferBackbone(PLAIN)
    assert [(f.channels, f.stride) for f in classifying.feature_info] == [(192, 16)]
    assert [tuple(f.shape) for f in classifying(images)] == [(1, 192, 5, 7)]
    assert classifying.pyramid is None
    dense = TransferBackbone(PLAIN, out_indices=(0, 1, 2, 3), channels_last=True)
    assert dense.feature_info == features(PLAIN, 32, (0, 1, 2, 3))
    declared = [(f.channels, -(-75 // f.stride), -(-100 // f.stride)) for f in dense.feature_info]
    assert declared == [(48, 19, 25), (96, 10, 13), (192, 5, 7), (192, 3, 4)]
    with torch.autocast("cpu", torch.bfloat16):
        assert [tuple(f.shape[1:]) for f in dense(images)] == declared


def test_pyramid_is_neither_saved_nor_frozen(tmp_path):
    metadata = CheckpointMetadata(
        PLAIN, "standard", (), 1.0, (1.0,) * 3, (1.0,) * 3, "RGB", 0, "raw"
    )
    classifier = TransferBackbone(PLAIN)
    path = str(tmp_path / "backbone.safetensors")
    backbones.export_checkpoint(classifier.net, path, metadata)
    dense = TransferBackbone(PLAIN, path, out_indices=(0, 1, 2, 3), frozen_stages=12)
    report = dense.verify(path)
    assert report.matched == report.total == len(classifier.net.state_dict())
    assert report.feature_error == 0.0
    learning = {name.split(".")[0] for name, p in dense.named_parameters() if p.requires_grad}
    assert learning == {"pyramid"}
    assert {name.split(".")[0] for name in dense.state_dict()} == {"net", "pyramid"}


def test_shifted_maps_are_refused():
    with pytest.raises(UserError, match=r"take inception_v3-x0\.25, trained as such"):
        features("inception_v3-valid-x0.25", 32, (0, 1, 2, 3))
    assert features("inception_v3-x0.25", 32, (3,))[0].stride == 32
