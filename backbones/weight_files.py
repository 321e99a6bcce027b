"""Files of weights as other programs write them, read without running any code in them."""

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

from backbones.checkpoint_file import CheckpointError

_DEEPEST = 3


def read_weights(path: Path) -> Any:
    """The content of a ``.safetensors`` file, or of one that ``torch.save`` wrote.

    Raises:
        CheckpointError: The file is missing, damaged, or holds more than tensors and plain values.
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
        # torch.save stores; what is compressed was packed by something else, and may be a bomb.
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise CheckpointError(
                f"{path} is a compressed archive; torch.save does not compress: unpack it and give the file in it"
            )
    try:
        with warnings.catch_warnings():
            # On protocols of pickle that it may not know; it raises where it does not.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{path} holds more than tensors, so that opening it could run code, or is damaged ({reason}); if you "
            "trust it, load it once yourself and save its state_dict alone with torch.save or safetensors"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is truncated or no file of weights ({error})") from None


def places(content: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping in a file's content that holds tensors, with its key, dots between levels."""
    if not isinstance(content, Mapping):
        return
    tensors = {str(n): v for n, v in content.items() if isinstance(v, Tensor)}
    if tensors:
        yield key, tensors
    if depth < _DEEPEST:
        for name, value in content.items():
            yield from places(value, f"{key}.{name}" if key else str(name), depth + 1)


__all__ = ["places", "read_weights"]
