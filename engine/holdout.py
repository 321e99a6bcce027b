"""Hold out training images for choosing a learning rate, so the test set is not used for it.

`datasets.split` defines which images are held out.
"""

from __future__ import annotations

from mmengine.config import Config

from contract.errors import UserError
from datasets.split import ONE_IN


def asked_for(config: Config) -> bool:
    """Remove the key `holdout` from a config and return its value.

    Raises:
        UserError: The value is neither True nor False.
    """
    value = config.pop("holdout", False)
    if not isinstance(value, bool):
        raise UserError(
            f"holdout={value!r} was given; expected True or False, as --trick holdout sets it"
        )
    return value


def describe(held_out: bool | None) -> str:
    """Describe the held-out images for the protocol; return an empty string for the test set."""
    if not held_out:
        return ""
    return f"; on training images held out (one in {ONE_IN}, by the hash of the name), not on the test set"
