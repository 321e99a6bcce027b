"""The hand-off: round trip, strictness, damage, and what a wrong file is told."""

import errno
import hashlib
import json
import os
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from torch import nn

import backbones
from backbones import CheckpointError, CheckpointMetadata
from contract.errors import UserError

SPEC = "resnet10_d-w8"
METADATA = CheckpointMetadata(
    spec=SPEC,
    recipe="efficient",
    tricks=("cosine", "mixup"),
    top1=71.25,
    mean=(123.68, 116.779, 103.939),
    std=(58.393, 57.12, 57.375),
    channel_order="RGB",
    seed=3,
    weights="ema",
)


@pytest.fixture
def trained():
    """A network whose every tensor differs from that of a fresh one."""
    torch.manual_seed(7)
    network = backbones.create(SPEC)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.add_(1)
    return network


@pytest.fixture
def path(tmp_path, trained):
    path = tmp_path / "backbone.safetensors"
    backbones.export_checkpoint(trained, path, METADATA)
    return path


def _refusal(path, module=None, **options):
    """Load, expect a refusal that leaves the module alone, and return its one sentence."""
    module = backbones.create(SPEC) if module is None else module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        backbones.load_checkpoint(module, path, **options)
    assert isinstance(error.value, UserError)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    return message


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
    receipt = backbones.load_checkpoint(network, path, spec=SPEC)
    total = len(trained.state_dict())
    assert (receipt.matched, receipt.total) == (total, total)
    assert receipt.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, trained.state_dict()[name])
    assert backbones.verify_checkpoint(network, path) == receipt.model_copy(
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
    receipt = backbones.load_checkpoint(network, path, spec=spec)
    assert receipt.matched == receipt.total == len(source.state_dict())
    backbones.verify_checkpoint(network, path)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name])


def test_equal_weights_give_equal_files(tmp_path, trained):
    digests = {
        backbones.export_checkpoint(trained, tmp_path / f"{copy}.safetensors", METADATA)
        for copy in range(6)
    }
    assert len(digests) == 1


def test_memory_format_does_not_matter(tmp_path, path, trained):
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
    assert "1 missing: layer1.0.bn2.running_var;" in _refusal(path)


def test_counter_of_batches_counts_as_a_tensor(path):
    _rewrite(path, lambda tensors: tensors.pop("bn1.num_batches_tracked"))
    assert "1 missing: bn1.num_batches_tracked;" in _refusal(path)


def test_extra_tensor(path):
    _rewrite(path, lambda tensors: tensors.update({"layer5.weight": torch.zeros(2, 2)}))
    assert "1 unexpected: layer5.weight;" in _refusal(path)


def test_half_a_head_is_left_over(path):
    _rewrite(path, lambda tensors: tensors.update({"fc.weight": torch.zeros(2, 2)}))
    assert "1 unexpected: fc.weight;" in _refusal(path)
    head = {"fc.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)}
    _rewrite(path, lambda tensors: tensors.update(head))
    receipt = backbones.load_checkpoint(backbones.create(SPEC), path)
    assert receipt.matched == receipt.total


def test_misshaped_tensor(path):
    _rewrite(path, lambda tensors: tensors.update({"bn1.weight": torch.zeros(9)}))
    assert (
        "1 of another shape or type: bn1.weight (file float32[9], backbone float32[8]);"
        in _refusal(path)
    )


def test_mistyped_tensor(path):
    _rewrite(path, lambda tensors: tensors.update({"bn1.bias": torch.zeros(8).half()}))
    assert "bn1.bias (file float16[8], backbone float32[8])" in _refusal(path)


def test_wrong_prefix(path):
    def add_prefix(tensors):
        for name in list(tensors):
            tensors[f"backbone.{name}"] = tensors.pop(name)

    _rewrite(path, add_prefix)
    message = _refusal(path)
    count = len(backbones.create(SPEC).state_dict())
    assert f"{count} missing: conv1.0.weight, conv1.1.weight" in message
    assert f"{count} unexpected: backbone.bn1.bias" in message
    assert f"… ({count - 8} more)" in message


def test_other_architecture_is_named_first(path):
    message = _refusal(path, backbones.create("resnet10_b-w8"), spec="resnet10_b-w8")
    assert message.startswith(
        f"the checkpoint {path} holds {SPEC}, the task builds resnet10_b-w8: "
        f"pass --backbone {SPEC} or the right checkpoint ("
    )
    assert "16 missing: conv1.weight, layer2.0.downsample.0.weight" in message


def test_other_width(path):
    message = _refusal(path, backbones.create("resnet10_d-w16"), spec="resnet10_d-w16")
    assert "of another shape or type: conv1.0.weight (file float32[4, 3, 3, 3], backbone" in message


def test_other_spec_is_refused_even_where_all_tensors_fit(tmp_path):
    path = tmp_path / "plain.safetensors"
    metadata = replace(METADATA, spec="resnet50-w8")
    backbones.export_checkpoint(backbones.create("resnet50-w8"), path, metadata)
    message = _refusal(path, backbones.create("resnet50_b-w8"), spec="resnet50_b-w8")
    assert "holds resnet50-w8, the task builds resnet50_b-w8" in message
    assert "all tensors fit, but the networks may compute differently" in message


def test_verify_names_tensors_that_were_overwritten(path):
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


def _header_end(data):
    return 8 + int.from_bytes(data[:8], "little")


@pytest.mark.parametrize("where", ["empty", "length", "header", "start", "middle", "last"])
def test_truncated(path, where):
    data = path.read_bytes()
    end = _header_end(data)
    cuts = {"empty": 0, "length": 5, "header": end // 2, "start": end, "last": len(data) - 1}
    keep = cuts.get(where, (end + len(data)) // 2)
    path.write_bytes(data[:keep])
    message = _refusal(path)
    assert f"({keep} bytes) is truncated, damaged, or not a safetensors file" in message
    assert "copy it again" in message
    with pytest.raises(CheckpointError):
        backbones.read_metadata(path)


def test_bytes_appended(path):
    path.write_bytes(path.read_bytes() + b"\0")
    assert "is truncated, damaged, or not a safetensors file" in _refusal(path)


@pytest.mark.parametrize("position", [0.0, 0.3, 0.7, 1.0])
def test_flipped_bit_in_a_tensor(path, position):
    data = bytearray(path.read_bytes())
    first, last = _header_end(data), len(data) - 1
    data[round(first + position * (last - first))] ^= 1
    path.write_bytes(data)
    assert "the tensors of" in (message := _refusal(path))
    assert "damaged (wrong digest)" in message


def test_flipped_digit_in_the_metadata(path):
    data = path.read_bytes()
    assert data.count(b"123.68") == 1
    path.write_bytes(data.replace(b"123.68", b"923.68"))
    assert "the metadata of" in (message := _refusal(path))
    assert "damaged (wrong digest)" in message


@pytest.mark.parametrize("as_zip", [True, False])
def test_pickle_is_refused(tmp_path, trained, as_zip):
    path = tmp_path / "resnet.pth"
    torch.save(trained.state_dict(), path, _use_new_zipfile_serialization=as_zip)
    message = _refusal(path)
    assert "is a pickle" in message
    assert f"`python -m backbones import SPEC {path} --out" in message


def test_header_length_that_looks_like_a_pickle(tmp_path):
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode().ljust(0x0280)
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert path.read_bytes().startswith(b"\x80\x02")
    assert "without TrickBench's metadata" in _refusal(path)


def test_foreign_safetensors(tmp_path, trained):
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file(trained.state_dict(), path)
    message = _refusal(path)
    assert (
        "a safetensors file without TrickBench's metadata; make a pretrained checkpoint of it by"
        in message
    )


def test_text_file(tmp_path):
    path = tmp_path / "page.safetensors"
    path.write_text("<html>404 not found</html>")
    assert "not a safetensors file" in _refusal(path)


def _with_metadata(path, entry_text):
    safetensors.torch.save_file({"x": torch.zeros(1)}, path, {"trickbench": entry_text})
    return _refusal(path)


def test_unknown_format_version(tmp_path):
    message = _with_metadata(tmp_path / "x", json.dumps({"format_version": 3}))
    assert "has format version 3; expected 1 or 2: use the version of TrickBench that" in message


def test_metadata_that_is_no_object(tmp_path):
    assert "damaged (no JSON object)" in _with_metadata(tmp_path / "x", "[1")
    assert "damaged (no JSON object)" in _with_metadata(tmp_path / "x", "[1]")


def test_missing_file_suggests_its_neighbours(path):
    message = _refusal(path.with_name("backbon.safetensors"))
    assert "does not exist; did you mean 'backbone.safetensors'?" in message
    message = _refusal(path.with_name("zzz"))
    assert "does not exist; checkpoints in that folder: backbone.safetensors" in message


def test_missing_file_in_an_empty_or_missing_folder(tmp_path):
    assert "checkpoints in that folder: none" in _refusal(tmp_path / "x.safetensors")
    message = _refusal(tmp_path / "nowhere" / "x.safetensors")
    assert f"nor does the folder {tmp_path / 'nowhere'}" in message


def test_folder_instead_of_a_file(path):
    message = _refusal(path.parent)
    assert f"is a folder; expected a checkpoint file, such as {path}" in message


def test_file_instead_of_a_folder(path):
    assert "does not exist, nor does the folder" in _refusal(path / "x.safetensors")


def test_unreadable_file(path, monkeypatch):
    def refuse(_path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    assert "cannot be read: Permission denied" in _refusal(path)


def test_full_disk_leaves_the_old_file_and_no_other(path, monkeypatch):
    before = path.read_bytes()

    def fill(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(os, "fsync", fill)
        backbones.export_checkpoint(backbones.create(SPEC), path, METADATA)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    # Once there is room again, the same call succeeds.
    backbones.export_checkpoint(backbones.create(SPEC), path, METADATA)
    assert path.read_bytes() != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": (0.485, 0.456, 0.406)}, "belong to pixels from 0 to 1; .* multiply both by 255"),
        ({"std": (0.229, 0.224, 0.225)}, "belong to pixels from 0 to 1"),
        ({"std": (58.0, 0.0, 57.0)}, "std .* expected positive numbers"),
        ({"mean": (1.0, 2.0)}, "mean .* expected three finite numbers"),
        ({"mean": (1.0, 2.0, float("nan"))}, "expected three finite numbers"),
        ({"top1": 101.0}, "top-1 101.0; expected a percentage from 0 to 100, or None"),
        ({"top1": float("nan")}, "top-1 nan; expected a percentage"),
        ({"channel_order": "rgb"}, "channel order 'rgb'; expected 'RGB' or 'BGR'"),
        ({"weights": "swa"}, "weights 'swa'; expected 'raw' or 'ema'"),
        ({"format_version": 3}, "format version 3 is not known; expected 2"),
    ],
)
def test_metadata_out_of_range(change, message):
    with pytest.raises(UserError, match=message):
        replace(METADATA, **change)
