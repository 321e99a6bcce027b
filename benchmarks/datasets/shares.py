"""Training and test images of a set that names no splits, as `det.shares` divides it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

# One image in so many is tested on.
TEST_ONE_IN = 5


def divide(images: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Returns the images that are trained on and those that are tested on, by the hash of their names."""
    shares: tuple[list[Path], list[Path]] = ([], [])
    for image in images:
        digest = hashlib.sha256(image.stem.encode()).digest()
        is_test = int.from_bytes(digest[:4], "big") % TEST_ONE_IN == 0
        shares[is_test].append(image)
    return shares
