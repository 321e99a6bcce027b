"""Training images held out to choose a learning rate by, so that the test set decides nothing.

One image in five, by the hash of its name alone: every row of a suite, every machine and every repetition holds out
the same images, and a set that grows moves none from one side to the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mmengine.config import Config

from contract.errors import UserError

ONE_IN = 5


def is_held_out(name: str) -> bool:
    """Whether the training image of that name (without folder and suffix) is tested on instead of trained on."""
    # The digest's first four bytes divide a set that names no splits: they would hold out none of what it trains on.
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[4:8], "big")
    return number % ONE_IN == 0


def check(names: Sequence[str], source: str) -> None:
    """Refuse training images of which none, or all, are held out.

    Args:
        names: Of all of them.
        source: What lists them, for the message.

    Raises:
        UserError: One side is empty.
    """
    count = sum(map(is_held_out, names))
    if not 0 < count < len(names):
        raise UserError(
            f"the trick holdout takes {count} of the {len(names)} training images of {source}, one in {ONE_IN} by "
            "the hash of its name, and both sides need at least one; give more training images"
        )


def asked_for(config: Config) -> bool:
    """Take the config's own key `holdout` out.

    Raises:
        UserError: It is neither True nor False.
    """
    value = config.pop("holdout", False)
    if not isinstance(value, bool):
        raise UserError(
            f"holdout={value!r} was given; expected True or False, as --trick holdout sets it"
        )
    return value


def in_words(held_out: bool | None) -> str:
    """What the protocol's entry on the test adds; empty where the test set is tested on."""
    if not held_out:
        return ""
    return f"; on training images held out (one in {ONE_IN}, by the hash of the name), not on the test set"
