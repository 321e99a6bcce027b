"""Compact lists for data sets of a million files: numpy arrays in place of Python objects.

Forked loader workers share the memory of their parent until one of them writes to it. Reading a Python object writes
to its reference count, so a list of a million tuples is copied into every worker page by page. The content of an array
has no reference counts.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from contract import files

# `numpy.savez` writes the time of day into the archive; equal content would then have different bytes.
_EARLIEST = (1980, 1, 1, 0, 0, 0)


class Texts(Sequence[str]):
    """A list of file names in one array of bytes.

    Args:
        text: The encoded names one after the other, uint8.
        ends: The end of each name in `text`, int64.
    """

    def __init__(self, text: np.ndarray, ends: np.ndarray) -> None:
        self.text = text
        self.ends = ends

    @classmethod
    def of(cls, names: Iterable[str]) -> Texts:
        """Store names."""
        text, lengths = bytearray(), []
        for name in names:
            encoded = os.fsencode(name)
            text += encoded
            lengths.append(len(encoded))
        ends = np.cumsum(np.asarray(lengths, np.int64), dtype=np.int64)
        return cls(np.frombuffer(bytes(text), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        start = int(self.ends[index - 1]) if index else 0
        return os.fsdecode(self.text[start : int(self.ends[index])].tobytes())


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to an `.npz` file atomically; equal arrays give equal bytes.

    Raises:
        OSError: The file cannot be written.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            encoded = io.BytesIO()
            np.save(encoded, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EARLIEST), encoded.getbuffer())
    files.write_bytes(path, content.getvalue())


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of an `.npz` file, or None if it is missing or damaged."""
    try:
        # numpy would not close a damaged file.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    # numpy raises many kinds of errors for damaged files.
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
