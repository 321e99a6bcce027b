"""CIFAR-10: convert pickled batches to PNG files.

Unpickling can run arbitrary code. Here only the types that numpy arrays need are allowed.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from contract.errors import UserError
from datasets.prepare.extract import Advance, Staging, read_files
from datasets.prepare.space import BLOCK_BYTES

FOLDER = "cifar-10-batches-py"
BATCHES = {
    "train": tuple(f"{FOLDER}/data_batch_{number}" for number in range(1, 6)),
    "val": (f"{FOLDER}/test_batch",),
}
META = f"{FOLDER}/batches.meta"
SIDE_PX = 32
PIXEL_BYTES = 3 * SIDE_PX * SIDE_PX

_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): np.ndarray.__reduce__(np.empty(0))[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArraysOnly(pickle.Unpickler):
    """An unpickler for numbers, strings, lists, dictionaries and numpy arrays."""

    def find_class(self, module: str, name: str) -> Any:
        # numpy 2 has another name for numpy.core.
        known = _ADMITTED.get((module.replace("numpy._core", "numpy.core"), name))
        if known is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return known


@dataclass(frozen=True)
class Pictures:
    """The step that writes every image as `{train,val}/CLASS/NNNNN.png`, numbered within its split from 0.

    Attributes:
        archive: `cifar-10-python.tar.gz`.
    """

    archive: Path

    @property
    def title(self) -> str:
        """The title of the progress bar."""
        return f"Writing the pictures of {self.archive.name}"

    def measure(self) -> int:
        """Return the bytes on disk; each image fits into one block.

        Raises:
            UserError: The archive is damaged, a batch is missing, or the content is not as expected.
        """
        batches = self._read()
        sizes = [len(batches[name]) for names in BATCHES.values() for name in names]
        return sum(sizes) // PIXEL_BYTES * BLOCK_BYTES

    def write(self, staging: Staging, advance: Advance) -> None:
        """Write the missing images.

        Raises:
            UserError: The archive is damaged, a batch is missing, or the content is not as expected.
        """
        batches = self._read()
        names = [str(name) for name in self._load(batches, META).get("label_names", ())]
        if not names or not all(name.isidentifier() for name in names):
            raise UserError(f"{self.archive} names its classes {names}; expected words.")
        for split, members in BATCHES.items():
            number = 0
            for member in members:
                for pixels, label in self._pictures(batches, member, len(names)):
                    relative = f"{split}/{names[label]}/{number:05d}.png"
                    if not staging.has(relative):
                        content = _png(pixels)
                        staging.put(relative, len(content), lambda c=content: io.BytesIO(c))
                    advance(BLOCK_BYTES)
                    number += 1

    def _read(self) -> dict[str, bytes]:
        wanted = [META, *BATCHES["train"], *BATCHES["val"]]
        found = read_files(self.archive, wanted)
        missing = [name for name in wanted if name not in found]
        if missing:
            raise UserError(
                f"{self.archive} does not contain {missing[0]}; download the archive again."
            )
        return found

    def _load(self, batches: Mapping[str, bytes], member: str) -> dict[str, Any]:
        try:
            # The files were written by Python 2, whose strings are bytes.
            content = _ArraysOnly(io.BytesIO(batches[member]), encoding="latin1").load()
        except Exception as error:
            # Damaged pickles can raise nearly any exception.
            raise UserError(
                f"{self.archive} was refused: {member} is no pickle of plain arrays ({error}). "
                "Remove the archive and get it from its source."
            ) from error
        if not isinstance(content, dict):
            raise UserError(f"{self.archive}: {member} holds no dictionary; get the archive again.")
        return content

    def _pictures(
        self, batches: Mapping[str, bytes], member: str, classes: int
    ) -> list[tuple[np.ndarray, int]]:
        content = self._load(batches, member)
        data, labels = content.get("data"), content.get("labels")
        if (
            not isinstance(data, np.ndarray)
            or data.dtype != np.uint8
            or data.ndim != 2
            or data.shape[1] != PIXEL_BYTES
            or not isinstance(labels, list)
            or len(labels) != len(data)
            or not all(isinstance(label, int) and 0 <= label < classes for label in labels)
        ):
            raise UserError(
                f"{self.archive}: {member} does not hold rows of {PIXEL_BYTES} bytes and a label "
                f"below {classes} for each; get the archive again."
            )
        # A row contains the red, the green and the blue plane, in this order.
        planes = data.reshape(-1, 3, SIDE_PX, SIDE_PX).transpose(0, 2, 3, 1)
        return list(zip(planes, labels, strict=True))


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, format="PNG")
    return file.getvalue()
