"""Decide which images are tested on and held out, by the hash of their names.

Every row, machine and repetition thus uses the same split, and images keep their split when a dataset grows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from contract.errors import UserError

Split = Literal["train", "test"]
# One image in this many is tested on if a dataset has no splits. The same fraction of training images is held out.
ONE_IN = 5


def split_of(name: str) -> Split:
    """Return the split of an image of a dataset without splits.

    Args:
        name: The image's name without folder and suffix.
    """
    return "test" if _number(name, 0) % ONE_IN == 0 else "train"


def is_held_out(name: str) -> bool:
    """Return whether a training image is held out: tested on instead of trained on, to choose a learning rate.

    Args:
        name: The image's name without folder and suffix.
    """
    # Not the bytes of `split_of`, because then no training image would be held out.
    return _number(name, 4) % ONE_IN == 0


def keeps(name: str, split: Split | None, held_out: bool | None = None) -> bool:
    """Return whether an image belongs to a part of a dataset.

    Args:
        name: The image's name without folder and suffix.
        split: Keep this split of a dataset without splits; None keeps both.
        held_out: Keep the held-out images (True), or the others (False); None keeps both.
    """
    return split in (None, split_of(name)) and held_out in (None, is_held_out(name))


def require_both_sides(names: Sequence[str], source: str) -> None:
    """Check that some, but not all, training images are held out.

    Args:
        names: Names of all training images.
        source: The file or folder that lists them, for the message.

    Raises:
        UserError: One side is empty.
    """
    count = sum(map(is_held_out, names))
    if not 0 < count < len(names):
        raise UserError(
            f"the trick holdout takes {count} of the {len(names)} training images of {source}, one in {ONE_IN} by "
            "the hash of its name, and both sides need at least one; give more training images"
        )


def note(split: Split | None) -> list[str]:
    """Return the note for the result if a dataset has no splits."""
    if split is None:
        return []
    return [
        f"the set names no splits: one image in {ONE_IN}, by the hash of its name, is tested on"
    ]


def _number(name: str, start: int) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[start : start + 4], "big")
