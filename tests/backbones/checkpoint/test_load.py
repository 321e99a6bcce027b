"""Strict loading: round trips, misfits, and verification after everything is built."""

import hashlib
from dataclasses import replace

import pytest
import torch
from support.refusals import METADATA, SPEC, refusal
from torch import nn

import backbones
from backbones import CheckpointError


def _rewrite(path, change):
    """Export a module whose tensors were changed, under unchanged metadata."""
    module = nn.Module()
    tensors = dict(backbones.create(SPEC).state_dict())
    change(tensors)
    module.state_dict = lambda: tensors
    backbones.export_checkpoint(module, path, METADATA)


@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_round_trip(path, trained, output_stride):
    network = backbones.create(SPEC, output_stride=output_stride)
    report = backbones.load_checkpoint(network, path, spec=SPEC)
    total = len(trained.state_dict())
    assert (report.matched, report.total) == (total, total)
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, trained.state_dict()[name])
    assert backbones.verify_checkpoint(network, path) == report.model_copy(
        update={"feature_error": 0.0}
    )
    assert replace(backbones.read_metadata(path), features=()) == METADATA


@pytest.mark.parametrize(
    "spec", ["resnet10_c-w8-se-dcn@34", "inception_v3-x0.1", "mobilenet_v1-x0.25"]
)
def test_round_trip_of_every_family(tmp_path, spec):
    path, source = tmp_path / "x.safetensors", backbones.create(spec)
    with torch.no_grad():
        for tensor in source.state_dict().values():
            tensor.add_(1)
    backbones.export_checkpoint(source, path, replace(METADATA, spec=spec))
    network = backbones.create(spec, output_stride=16)
    report = backbones.load_checkpoint(network, path, spec=spec)
    assert report.matched == report.total == len(source.state_dict())
    backbones.verify_checkpoint(network, path)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name])


def test_equal_weights_give_equal_files(tmp_path, trained):
    digests = {
        backbones.export_checkpoint(trained, tmp_path / f"{copy}.safetensors", METADATA)
        for copy in range(6)
    }
    assert len(digests) == 1


def test_memory_format_is_irrelevant(tmp_path, path, trained):
    last = trained.to(memory_format=torch.channels_last)
    digest = backbones.export_checkpoint(last, tmp_path / "last.safetensors", METADATA)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    network = backbones.create(SPEC).to(memory_format=torch.channels_last)
    backbones.load_checkpoint(network, path)
    backbones.verify_checkpoint(network, path)


def test_accuracy_may_be_unknown(tmp_path, trained):
    metadata = replace(METADATA, top1=None, tricks=())
    backbones.export_checkpoint(trained, tmp_path / "x", metadata)
    assert replace(backbones.read_metadata(tmp_path / "x"), features=()) == metadata


def test_missing_tensor(path):
    _rewrite(path, lambda tensors: tensors.pop("layer1.0.bn2.running_var"))
    assert "1 missing: layer1.0.bn2.running_var;" in refusal(path)


def test_batch_counter_is_a_tensor(path):
    _rewrite(path, lambda tensors: tensors.pop("bn1.num_batches_tracked"))
    assert "1 missing: bn1.num_batches_tracked;" in refusal(path)


def test_extra_tensor(path):
    _rewrite(path, lambda tensors: tensors.update({"layer5.weight": torch.zeros(2, 2)}))
    assert "1 unexpected: layer5.weight;" in refusal(path)


def test_partial_head_is_unexpected(path):
    _rewrite(path, lambda tensors: tensors.update({"fc.weight": torch.zeros(2, 2)}))
    assert "1 unexpected: fc.weight;" in refusal(path)
    head = {"fc.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)}
    _rewrite(path, lambda tensors: tensors.update(head))
    report = backbones.load_checkpoint(backbones.create(SPEC), path)
    assert report.matched == report.total


def test_misshaped_tensor(path):
    _rewrite(path, lambda tensors: tensors.update({"bn1.weight": torch.zeros(9)}))
    assert (
        "1 of another shape or type: bn1.weight (file float32[9], backbone float32[8]);"
        in refusal(path)
    )


def test_mistyped_tensor(path):
    _rewrite(path, lambda tensors: tensors.update({"bn1.bias": torch.zeros(8).half()}))
    assert "bn1.bias (file float16[8], backbone float32[8])" in refusal(path)


def test_wrong_prefix(path):
    def add_prefix(tensors):
        for name in list(tensors):
            tensors[f"backbone.{name}"] = tensors.pop(name)

    _rewrite(path, add_prefix)
    message = refusal(path)
    count = len(backbones.create(SPEC).state_dict())
    assert f"{count} missing: conv1.0.weight, conv1.1.weight" in message
    assert f"{count} unexpected: backbone.bn1.bias" in message
    assert f"… ({count - 8} more)" in message


def test_names_other_architecture_first(path):
    message = refusal(path, backbones.create("resnet10_b-w8"), spec="resnet10_b-w8")
    assert message.startswith(
        f"the checkpoint {path} holds {SPEC}, the task builds resnet10_b-w8: "
        f"pass --backbone {SPEC} or the right checkpoint ("
    )
    assert "16 missing: conv1.weight, layer2.0.downsample.0.weight" in message


def test_other_width(path):
    message = refusal(path, backbones.create("resnet10_d-w16"), spec="resnet10_d-w16")
    assert "of another shape or type: conv1.0.weight (file float32[4, 3, 3, 3], backbone" in message


def test_refuses_other_spec_with_fitting_tensors(tmp_path):
    path = tmp_path / "plain.safetensors"
    metadata = replace(METADATA, spec="resnet50-w8")
    backbones.export_checkpoint(backbones.create("resnet50-w8"), path, metadata)
    message = refusal(path, backbones.create("resnet50_b-w8"), spec="resnet50_b-w8")
    assert "holds resnet50-w8, the task builds resnet50_b-w8" in message
    assert "all tensors fit, but the networks may compute differently" in message


def test_verify_names_overwritten_tensors(path):
    network = backbones.create(SPEC)
    backbones.load_checkpoint(network, path)
    with torch.no_grad():
        network.layer2[0].conv1.weight[0, 0, 0, 0] += 1e-3
        network.bn1.num_batches_tracked += 1
    with pytest.raises(CheckpointError) as error:
        backbones.verify_checkpoint(network, path)
    total = len(network.state_dict())
    assert f"2 of {total} tensors of the built backbone differ" in str(error.value)
    assert "bn1.num_batches_tracked, layer2.0.conv1.weight; something overwrote" in str(error.value)


def test_verify_compares_bits(tmp_path, trained):
    with torch.no_grad():
        trained.bn1.bias[0] = float("nan")
        trained.bn1.bias[1] = 0.0
    path = tmp_path / "x.safetensors"
    backbones.export_checkpoint(trained, path, METADATA)
    backbones.verify_checkpoint(trained, path)
    with torch.no_grad():
        trained.bn1.bias[1] = -0.0
    with pytest.raises(CheckpointError, match=r"differ from .*: bn1\.bias;"):
        backbones.verify_checkpoint(trained, path)
