"""The longest chain, and the time that several places take."""

import pytest

from benchmarks.plan.spread import longest_chain, total_seconds

# A teacher, two classifiers, of which one needs it, and what starts from them.
SECONDS = {"teacher": 30, "a": 10, "b": 20, "a-seg": 5, "b-det": 5, "b-seg": 15, "free": 4}
NEEDS = {"b": "teacher", "a-seg": "a", "b-det": "b", "b-seg": "b", "free": "finished before"}


def test_longest_chain():
    assert longest_chain(SECONDS, NEEDS) == ["teacher", "b", "b-seg"]
    assert longest_chain({}, {}) == []
    assert longest_chain({"a-seg": 5.0}, NEEDS) == ["a-seg"]


@pytest.mark.parametrize(("places", "expected"), [(1, 89), (2, 65), (16, 65)])
def test_total_time(places, expected):
    assert total_seconds(SECONDS, NEEDS, places) == expected


def test_longest_chain_starts_first():
    """In the order of the plan, `long` would start when the short ones have ended, at 2."""
    seconds = {"s1": 2, "s2": 2, "s3": 2, "long": 6}
    assert total_seconds(seconds, {}, 2) == 6
    assert total_seconds(seconds, {}, 1) == 12
    assert total_seconds({}, {}, 4) == 0
