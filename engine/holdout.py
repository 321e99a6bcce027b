"""Training images held out to choose a learning rate by, so that the test set decides nothing.

`datasets.split` says which images these are.
"""

from __future__ import annotations

from mmengine.config import Config

from contract.errors import UserError
from datasets.split import ONE_IN


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
