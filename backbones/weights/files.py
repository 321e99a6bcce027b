"""Read weight files of other libraries without running code in them."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from backbones.checkpoint.format import CheckpointError

_DEEPEST = 3


def read_weights(path: Path) -> Any:
    """Return the content of a `.safetensors` file, or of a file from `torch.save`.

    Raises:
        CheckpointError: The file is missing, damaged, or contains more than tensors and plain values.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, ValueError, KeyError) as error:
            raise CheckpointError(f"{path} is truncated or no safetensors file ({error})") from None
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        # torch.save does not compress. A compressed archive is from another program and may be a zip bomb.
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise CheckpointError(
                f"{path} is a compressed archive; torch.save does not compress: unpack it and give the file in it"
            )
    try:
        with warnings.catch_warnings():
            # torch warns about new pickle protocols; it raises if it cannot read one.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{path} is damaged or holds more than tensors, and opening it could run code ({reason}); if you trust it, "
            "load it yourself and save only its state_dict, with torch.save or safetensors"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is truncated or no file of weights ({error})") from None


def places(content: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield each mapping with tensors and its key; dots separate levels."""
    if not isinstance(content, Mapping):
        return
    tensors = {str(n): v for n, v in content.items() if isinstance(v, Tensor)}
    if tensors:
        yield key, tensors
    if depth < _DEEPEST:
        for name, value in content.items():
            yield from places(value, f"{key}.{name}" if key else str(name), depth + 1)
