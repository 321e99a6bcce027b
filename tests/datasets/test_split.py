"""The test and held-out images, against an independent computation."""

import hashlib

import pytest

from contract.errors import UserError
from datasets import split

NAMES = [f"{number:06d}" for number in range(5000)]


def _digits(name, start):
    """A number from eight digits of the name's SHA-256, which begin at `start`."""
    return int(hashlib.sha256(name.encode()).hexdigest()[start : start + 8], 16)


def test_one_in_five_is_held_out_by_name():
    held_out = [name for name in NAMES if split.is_held_out(name)]
    assert held_out == [name for name in NAMES if _digits(name, 8) % 5 == 0]
    # Five standard deviations of a binomial distribution.
    assert abs(len(held_out) - 1000) < 5 * (5000 * 0.2 * 0.8) ** 0.5


def test_unsplit_set_holds_out_a_fifth_of_training():
    trained = [name for name in NAMES if _digits(name, 0) % 5 != 0]
    held_out = sum(map(split.is_held_out, trained))
    assert abs(held_out - len(trained) / 5) < 5 * (len(trained) * 0.2 * 0.8) ** 0.5


def test_both_sides_need_an_image():
    inside = next(name for name in NAMES if split.is_held_out(name))
    outside = next(name for name in NAMES if not split.is_held_out(name))
    split.require_both_sides([inside, outside], "here")
    for names, count in (([], 0), ([inside], 1), ([outside] * 3, 0)):
        with pytest.raises(
            UserError, match=f"takes {count} of the {len(names)} training images of here"
        ):
            split.require_both_sides(names, "here")


def test_unsplit_set_tests_on_one_in_five():
    for name in NAMES[:200]:
        assert split.split_of(name) == ("test" if _digits(name, 0) % 5 == 0 else "train")
        assert split.keeps(name, None) and split.keeps(name, split.split_of(name))
        assert split.keeps(name, None, held_out=True) is split.is_held_out(name)
        assert split.keeps(name, None, held_out=False) is not split.is_held_out(name)
