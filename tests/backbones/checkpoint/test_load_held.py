"""Within `hold_checkpoints` a file is read once and compared with what was read."""

from pathlib import Path

import pytest
import torch

import backbones
from backbones import CheckpointError, CheckpointMetadata

SPEC = "resnet10_d-w8"
METADATA = CheckpointMetadata(SPEC, "standard", (), 1.0, (1.0,) * 3, (1.0,) * 3, "RGB", 0, "raw")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "backbone.safetensors"
    backbones.export_checkpoint(backbones.create(SPEC), path, METADATA)
    return path


@pytest.fixture
def reads(monkeypatch):
    seen = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: seen.append(path) or read_bytes(path))
    return seen


def _use(path):
    network = backbones.create(backbones.read_metadata(path).spec)
    backbones.load_checkpoint(network, path, spec=SPEC)
    return network, backbones.verify_checkpoint(network, path)


def test_reads_file_once(path, reads):
    with backbones.hold_checkpoints():
        network, report = _use(path)
        assert reads == [path]
        assert report.matched == report.total == len(network.state_dict())
        backbones.forget_checkpoints()
        backbones.read_metadata(path)
        assert reads == [path] * 2
    backbones.read_metadata(path)
    assert reads == [path] * 3


def test_rereads_replaced_file(path, reads):
    with backbones.hold_checkpoints():
        _use(path)
        backbones.export_checkpoint(backbones.create(SPEC), path, METADATA)
        _use(path)
    assert reads == [path] * 2


def test_refuses_vanished_or_damaged_file(path):
    with backbones.hold_checkpoints():
        _use(path)
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(CheckpointError, match="truncated, damaged"):
            backbones.read_metadata(path)
        path.unlink()
        with pytest.raises(CheckpointError, match="does not exist"):
            backbones.read_metadata(path)


def test_training_leaves_held_tensors_unchanged(path):
    with backbones.hold_checkpoints():
        network, _ = _use(path)
        with torch.no_grad():
            network.conv1[0].weight.add_(1)
        with pytest.raises(CheckpointError, match=r"1 of .* tensors of the built backbone differ"):
            backbones.verify_checkpoint(network, path)
