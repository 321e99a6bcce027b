"""Which training images are held out, against an independent computation."""

import hashlib

import pytest
from mmengine.config import Config

from contract.errors import UserError
from engine import holdout

NAMES = [f"{number:06d}" for number in range(5000)]


def _digits(name, start):
    """A number from eight digits of the name's SHA-256, which begin at `start`."""
    return int(hashlib.sha256(name.encode()).hexdigest()[start : start + 8], 16)


def test_one_image_in_five_is_held_out_by_its_name():
    held_out = [name for name in NAMES if holdout.is_held_out(name)]
    assert held_out == [name for name in NAMES if _digits(name, 8) % 5 == 0]
    # Five standard deviations of a binomial distribution.
    assert abs(len(held_out) - 1000) < 5 * (5000 * 0.2 * 0.8) ** 0.5


def test_of_the_training_share_of_a_set_without_splits_a_fifth_is_held_out_too():
    trained = [name for name in NAMES if _digits(name, 0) % 5 != 0]
    held_out = sum(map(holdout.is_held_out, trained))
    assert abs(held_out - len(trained) / 5) < 5 * (len(trained) * 0.2 * 0.8) ** 0.5


def test_both_sides_need_an_image():
    inside = next(name for name in NAMES if holdout.is_held_out(name))
    outside = next(name for name in NAMES if not holdout.is_held_out(name))
    holdout.check([inside, outside], "here")
    for names, count in (([], 0), ([inside], 1), ([outside] * 3, 0)):
        with pytest.raises(
            UserError, match=f"takes {count} of the {len(names)} training images of here"
        ):
            holdout.check(names, "here")


def test_the_key_is_a_switch():
    assert [holdout.asked_for(Config(dict(holdout=value))) for value in (True, False)] == [
        True,
        False,
    ]
    # A config of one's own that does not know the trick.
    assert not holdout.asked_for(Config(dict(a=1)))
    config = Config(dict(holdout=0.2))
    with pytest.raises(UserError, match=r"holdout=0.2 was given; expected True or False"):
        holdout.asked_for(config)


def test_only_a_hold_out_is_told():
    assert holdout.in_words(None) == holdout.in_words(False) == ""
    assert holdout.in_words(True) == (
        "; on training images held out (one in 5, by the hash of the name), not on the test set"
    )
