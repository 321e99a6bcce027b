"""Inspect the images of a packed data set."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.images import Picture, Progress, inspect, map_threaded
from datasets.packed.part import PackedSamples, Slice


def inspect_packed(
    splits: Sequence[PackedSamples], decode: bool, progress: Progress | None
) -> list[Picture]:
    """Inspect every image in the order in which it is stored.

    Args:
        splits: The images of each split.
        decode: Decode every pixel; if False, only the headers are read.
        progress: Called from time to time with the number of images done and the total.

    Returns:
        One entry for each image, split by split, in the order of the samples.
    """
    stored = [
        (split, int(index))
        for split, samples in enumerate(splits)
        for index in np.lexsort((samples.places.offset, samples.places.shard))
    ]

    def look(place: tuple[int, int]) -> Picture:
        samples, index = splits[place[0]], place[1]
        file = (
            io.BytesIO(samples.read(index)) if decode else io.BufferedReader(Slice(samples, index))
        )
        return inspect(Path(samples.path(index)), decode, file)

    found = dict(zip(stored, map_threaded(look, stored, progress), strict=True))
    return [found[place] for place in sorted(found)]
