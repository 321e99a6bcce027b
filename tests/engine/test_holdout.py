"""The trick's switch, and its description in a result."""

import pytest
from mmengine.config import Config

from contract.errors import UserError
from engine import holdout


def test_key_is_boolean():
    assert [holdout.asked_for(Config(dict(holdout=value))) for value in (True, False)] == [
        True,
        False,
    ]
    # A user's config without the trick's key.
    assert not holdout.asked_for(Config(dict(a=1)))
    config = Config(dict(holdout=0.2))
    with pytest.raises(UserError, match=r"holdout=0.2 was given; expected True or False"):
        holdout.asked_for(config)


def test_only_holdout_is_described():
    assert holdout.describe(None) == holdout.describe(False) == ""
    assert holdout.describe(True) == (
        "; on training images held out (one in 5, by the hash of the name), not on the test set"
    )
