"""Training and test images of a set that comes without splits: four fifths and one fifth, by the hash of the name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

Share = Literal["train", "test"]
# One image in so many is tested on.
TEST_ONE_IN = 5


def share_of(name: str) -> Share:
    """The share of an image, by its name (without suffix) alone: a set may grow, no image changes sides."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return "test" if number % TEST_ONE_IN == 0 else "train"


def of_share(names: Iterable[str], share: Share | None) -> list[str]:
    """The names that belong to a share, in their order; all where no share is asked for."""
    return [name for name in names if share is None or share_of(name) == share]


def note(share: Share | None) -> list[str]:
    """The sentence that a result carries where the splits are ours."""
    if share is None:
        return []
    return [
        f"the set names no splits: one image in {TEST_ONE_IN}, by the hash of its name, is tested on"
    ]
