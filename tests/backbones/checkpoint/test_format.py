"""The file of a checkpoint: damage, foreign files and versions."""

import errno
import json
import os
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from support.refusals import METADATA, SPEC, refusal

import backbones
from backbones import CheckpointError
from contract.errors import UserError


def _header_end(data):
    return 8 + int.from_bytes(data[:8], "little")


@pytest.mark.parametrize("where", ["empty", "length", "header", "start", "middle", "last"])
def test_truncated(path, where):
    data = path.read_bytes()
    end = _header_end(data)
    cuts = {"empty": 0, "length": 5, "header": end // 2, "start": end, "last": len(data) - 1}
    keep = cuts.get(where, (end + len(data)) // 2)
    path.write_bytes(data[:keep])
    message = refusal(path)
    assert f"({keep} bytes) is truncated, damaged, or not a safetensors file" in message
    assert "copy it again" in message
    with pytest.raises(CheckpointError):
        backbones.read_metadata(path)


def test_bytes_appended(path):
    path.write_bytes(path.read_bytes() + b"\0")
    assert "is truncated, damaged, or not a safetensors file" in refusal(path)


@pytest.mark.parametrize("position", [0.0, 0.3, 0.7, 1.0])
def test_flipped_bit_in_a_tensor(path, position):
    data = bytearray(path.read_bytes())
    first, last = _header_end(data), len(data) - 1
    data[round(first + position * (last - first))] ^= 1
    path.write_bytes(data)
    assert "the tensors of" in (message := refusal(path))
    assert "damaged (wrong digest)" in message


def test_flipped_digit_in_the_metadata(path):
    data = path.read_bytes()
    assert data.count(b"123.68") == 1
    path.write_bytes(data.replace(b"123.68", b"923.68"))
    assert "the metadata of" in (message := refusal(path))
    assert "damaged (wrong digest)" in message


@pytest.mark.parametrize("as_zip", [True, False])
def test_pickle_is_refused(tmp_path, trained, as_zip):
    path = tmp_path / "resnet.pth"
    torch.save(trained.state_dict(), path, _use_new_zipfile_serialization=as_zip)
    message = refusal(path)
    assert "is a pickle" in message
    assert f"`python -m backbones import SPEC {path} --out" in message


def test_header_length_that_looks_like_a_pickle(tmp_path):
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode().ljust(0x0280)
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert path.read_bytes().startswith(b"\x80\x02")
    assert "without TrickBench's metadata" in refusal(path)


def test_foreign_safetensors(tmp_path, trained):
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file(trained.state_dict(), path)
    message = refusal(path)
    assert (
        "a safetensors file without TrickBench's metadata; make a pretrained checkpoint of it by"
        in message
    )


def test_text_file(tmp_path):
    path = tmp_path / "page.safetensors"
    path.write_text("<html>404 not found</html>")
    assert "not a safetensors file" in refusal(path)


def _with_metadata(path, entry_text):
    safetensors.torch.save_file({"x": torch.zeros(1)}, path, {"trickbench": entry_text})
    return refusal(path)


def test_unknown_format_version(tmp_path):
    message = _with_metadata(tmp_path / "x", json.dumps({"format_version": 3}))
    assert "has format version 3; expected 1 or 2: use the version of TrickBench that" in message


def test_metadata_not_an_object(tmp_path):
    assert "damaged (no JSON object)" in _with_metadata(tmp_path / "x", "[1")
    assert "damaged (no JSON object)" in _with_metadata(tmp_path / "x", "[1]")


def test_missing_file_suggests_neighbours(path):
    message = refusal(path.with_name("backbon.safetensors"))
    assert "does not exist; did you mean 'backbone.safetensors'?" in message
    message = refusal(path.with_name("zzz"))
    assert "does not exist; checkpoints in that folder: backbone.safetensors" in message


def test_missing_file_in_an_empty_or_missing_folder(tmp_path):
    assert "checkpoints in that folder: none" in refusal(tmp_path / "x.safetensors")
    message = refusal(tmp_path / "nowhere" / "x.safetensors")
    assert f"nor does the folder {tmp_path / 'nowhere'}" in message


def test_folder_instead_of_a_file(path):
    message = refusal(path.parent)
    assert f"is a folder; expected a checkpoint file, such as {path}" in message


def test_file_instead_of_a_folder(path):
    assert "does not exist, nor does the folder" in refusal(path / "x.safetensors")


def test_unreadable_file(path, monkeypatch):
    def refuse(_path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    assert "cannot be read: Permission denied" in refusal(path)


def test_full_disk_keeps_old_file(path, monkeypatch):
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
