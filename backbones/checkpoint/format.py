"""The file format of pretrained checkpoints: safetensors with our metadata and two digests to detect damage.

Tensors are plain data and run no code (https://github.com/huggingface/safetensors). The metadata is a single entry, a
JSON object with the fields of `CheckpointMetadata` and the digests. safetensors writes several entries in random
order, but equal weights must give equal files, because the sha256 of a checkpoint is part of the identity of the runs
that start from it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from contract.errors import UserError, did_you_mean, listed_names
from contract.files import write_bytes

FORMAT_VERSION = 2
# Fields that version 1 does not have, with the values for "unknown".
_SINCE_VERSION_2 = {"random": [], "features": []}

_METADATA_KEY = "trickbench"
_TENSORS_DIGEST = "tensors_sha256"
_METADATA_DIGEST = "metadata_sha256"
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_DAMAGED = "copy it again from where it was written, or train it again"


class CheckpointError(UserError):
    """A checkpoint that is damaged or does not fit the network."""


@dataclass(frozen=True)
class CheckpointMetadata:
    """The origin of a checkpoint's weights, and the normalisation of images for them.

    Attributes:
        spec: The spec that `backbones.create` built the network from.
        recipe: Name of the training recipe.
        tricks: Names of the tricks added to the recipe, in order.
        top1: Validation accuracy in percent; None if it was not measured.
        mean: Mean of each channel, subtracted from pixels on the scale 0 to 255.
        std: Standard deviation of each channel, on the same scale.
        channel_order: `"RGB"` or `"BGR"`.
        seed: Seed of the training run.
        weights: `"raw"`, or `"ema"` for their exponential moving average.
        random: Names of tensors that were missing from imported weights; they have random values.
        features: The feature fingerprint (see `backbones.checkpoint.fingerprint`); empty if there is none.
        format_version: Version of the file's layout.

    Raises:
        UserError: A value is out of its range.
    """

    spec: str
    recipe: str
    tricks: tuple[str, ...]
    top1: float | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channel_order: str
    seed: int
    weights: str
    random: tuple[str, ...] = ()
    features: tuple[tuple[float, ...], ...] = ()
    format_version: int = FORMAT_VERSION

    def __post_init__(self):
        if self.format_version != FORMAT_VERSION:
            raise UserError(
                f"format version {self.format_version} is not known; expected {FORMAT_VERSION}: "
                "use the version of TrickBench that wrote the file"
            )
        if self.channel_order not in ("RGB", "BGR"):
            raise UserError(f"channel order {self.channel_order!r}; expected 'RGB' or 'BGR'")
        if self.weights not in ("raw", "ema"):
            raise UserError(f"weights {self.weights!r}; expected 'raw' or 'ema'")
        if self.top1 is not None and not 0 <= self.top1 <= 100:
            raise UserError(f"top-1 {self.top1}; expected a percentage from 0 to 100, or None")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3 or not all(map(math.isfinite, values)):
                raise UserError(f"{name} {values}; expected three finite numbers")
        if min(self.std) <= 0:
            raise UserError(f"std {self.std}; expected positive numbers")
        if 0 < max(self.mean) < 1 or max(self.std) < 1:
            raise UserError(
                f"mean {self.mean} and std {self.std} belong to pixels from 0 to 1; "
                "expected those for 0 to 255: multiply both by 255"
            )


@dataclass(frozen=True)
class CheckpointContent:
    """The content of a checkpoint file.

    Attributes:
        sha256: Digest of the file, in hexadecimal.
        metadata: The metadata.
        tensors: The weights by name, on the CPU.
    """

    sha256: str
    metadata: CheckpointMetadata
    tensors: dict[str, Tensor]


def write_file(path: Path, tensors: Mapping[str, Tensor], metadata: CheckpointMetadata) -> str:
    """Write a checkpoint atomically.

    Args:
        path: The file; an existing one is replaced.
        tensors: The weights by name, on any device.
        metadata: The metadata to store with them.

    Returns:
        The sha256 of the file, in hexadecimal. Equal weights and metadata give equal files.

    Raises:
        OSError: The file cannot be written, for example because the disk is full. An existing file stays as it was.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    entry = asdict(metadata) | {_TENSORS_DIGEST: _tensors_digest(plain)}
    entry[_METADATA_DIGEST] = _metadata_digest(entry)
    data = safetensors.torch.save(plain, {_METADATA_KEY: json.dumps(entry, sort_keys=True)})
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


# Files that were read inside `hold_checkpoints`, by path and file status; None outside it.
_held: dict[tuple[str, int, int, int], CheckpointContent] | None = None


@contextmanager
def hold_checkpoints() -> Iterator[None]:
    """Cache checkpoint files: inside this context, `read_file` keeps the content of each file.

    A file with another size or modification time is read again. The tensors stay in memory until
    `forget_checkpoints`, or until the context ends.
    """
    global _held
    before, _held = _held, {}
    try:
        yield
    finally:
        _held = before


def forget_checkpoints() -> None:
    """Free the tensors that `hold_checkpoints` keeps in memory."""
    if _held is not None:
        _held.clear()


def read_file(path: Path) -> CheckpointContent:
    """Read a whole checkpoint and check it for damage, or return the content that `hold_checkpoints` keeps.

    Args:
        path: The checkpoint.

    Returns:
        Its content. Do not change the tensors: the next caller gets the same ones.

    Raises:
        CheckpointError: The file is missing, damaged, or not a checkpoint of this package.
    """
    key = _key(path)
    if _held is None or key is None:
        return _read(path)
    if key not in _held:
        _held[key] = _read(path)
    return _held[key]


def _key(path: Path) -> tuple[str, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path.absolute()), status.st_ino, status.st_size, status.st_mtime_ns


def _read(path: Path) -> CheckpointContent:
    """Read a whole checkpoint and check it for damage.

    Args:
        path: The checkpoint.

    Returns:
        Its content.

    Raises:
        CheckpointError: The file is missing, damaged, or not a checkpoint of this package.
    """
    # Digest, metadata and tensors come from the same bytes, even if another process replaces the file meanwhile.
    data = _read_bytes(path)
    if _is_pickle(data):
        raise CheckpointError(
            f"{path} is a pickle, as torch.save writes, and no pretrained checkpoint; make one of it "
            f"by `python -m backbones import SPEC {path} --out backbone.safetensors "
            "--normalisation imagenet`"
        )
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path} ({len(data)} bytes) is truncated, damaged, or not a safetensors file "
            f"({error}); {_DAMAGED}"
        ) from error
    entry = _metadata_entry(path, data)
    # Check the version first: other versions may have other digests and fields.
    if (version := entry.get("format_version")) not in (1, FORMAT_VERSION):
        raise CheckpointError(
            f"{path} has format version {version}; expected 1 or {FORMAT_VERSION}: "
            "use the version of TrickBench that wrote it"
        )
    if entry.pop(_METADATA_DIGEST, None) != _metadata_digest(entry):
        raise CheckpointError(f"the metadata of {path} is damaged (wrong digest); {_DAMAGED}")
    if entry.pop(_TENSORS_DIGEST, None) != _tensors_digest(tensors):
        raise CheckpointError(f"the tensors of {path} are damaged (wrong digest); {_DAMAGED}")
    if version == 1:
        entry |= {**_SINCE_VERSION_2, "format_version": FORMAT_VERSION}
    return CheckpointContent(
        hashlib.sha256(data).hexdigest(), _parse_metadata(path, entry), tensors
    )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError as error:
        inside = sorted(child.name for child in path.glob("*.safetensors"))
        such_as = f", such as {path / inside[0]}" if inside else " (*.safetensors)"
        raise CheckpointError(f"{path} is a folder; expected a checkpoint file{such_as}") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(_missing(path)) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def _is_pickle(data: bytes) -> bool:
    # A safetensors file starts with the length of its header, which may look like a pickle, but the header itself
    # starts with a brace.
    return data.startswith(_PICKLE_STARTS) and data[8:9] != b"{"


def _missing(path: Path) -> str:
    if not path.parent.is_dir():
        return f"checkpoint {path} does not exist, nor does the folder {path.parent}"
    siblings = [child.name for child in path.parent.iterdir() if child.is_file()]
    suggestion = did_you_mean(path.name, siblings)
    if not suggestion:
        found = sorted(name for name in siblings if name.endswith(".safetensors"))
        suggestion = f"checkpoints in that folder: {listed_names(found) or 'none'}"
    return f"checkpoint {path} does not exist; {suggestion}"


def _metadata_entry(path: Path, data: bytes) -> dict[str, object]:
    """Parse our metadata from the header: its length in 8 bytes, little-endian, then JSON."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    text = header.get("__metadata__", {}).get(_METADATA_KEY)
    if text is None:
        raise CheckpointError(
            f"{path} is a safetensors file without TrickBench's metadata; make a pretrained checkpoint of it "
            f"by "
            f"`python -m backbones import SPEC {path} --out backbone.safetensors --normalisation "
            "imagenet`"
        )
    try:
        entry = json.loads(text)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise CheckpointError(f"the metadata of {path} is damaged (no JSON object); {_DAMAGED}")
    return entry


def _parse_metadata(path: Path, entry: dict[str, object]) -> CheckpointMetadata:
    expected = {field.name for field in fields(CheckpointMetadata)}
    if wrong := sorted(expected ^ entry.keys()):
        raise CheckpointError(
            f"the metadata of {path} has missing or unknown keys: {listed_names(wrong)}"
        )
    values = {name: _frozen(value) for name, value in entry.items()}
    try:
        return CheckpointMetadata(**values)  # pyright: ignore[reportArgumentType]
    except (UserError, TypeError) as error:
        raise CheckpointError(f"the metadata of {path} is wrong: {error}") from error


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def form(tensor: Tensor) -> str:
    """Describe dtype and shape, as in `float32[64, 3, 7, 7]`."""
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def bytes_of(tensor: Tensor) -> Tensor:
    """View the elements in row-major order as bytes; NaN and -0 then compare as stored."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def _tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {form(tensors[name])}\n".encode())
        digest.update(bytes_of(tensors[name]).numpy().data)
    return digest.hexdigest()


def _metadata_digest(entry: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()
