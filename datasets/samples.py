"""Images with a class, listed in little memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.images import read_rgb
from datasets.records import ClassSample
from datasets.texts import Texts


class Samples(Sequence[ClassSample]):
    """The images of one split in the order of the classes, each in a file of its own.

    Args:
        folder: The split's folder.
        names: The images' paths relative to `folder`.
        labels: The index of each image's class.
    """

    # The shard of each image, if images are read from shards.
    blocks: np.ndarray | None = None

    def __init__(self, folder: Path, names: Texts, labels: np.ndarray) -> None:
        self.folder = str(folder)
        self.names = names
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> ClassSample:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ClassSample(Path(self.path(index)), self.label(index))

    def path(self, index: int) -> str:
        """Return the path of an image, for messages too."""
        return os.path.join(self.folder, self.names[index])

    def label(self, index: int) -> int:
        """Return the index of an image's class."""
        return int(self.labels[index])

    def read(self, index: int) -> bytes:
        """Return the encoded image.

        Raises:
            OSError: The file cannot be read.
        """
        with open(self.path(index), "rb") as file:
            return file.read()

    def decode(self, index: int) -> Image.Image:
        """Return the decoded image, upright and RGB.

        Raises:
            UserError: See `datasets.images.read_rgb`.
        """
        return read_rgb(self.path(index))
