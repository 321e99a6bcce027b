"""One wording for all unknown names."""

import pytest

from contract.errors import did_you_mean, listed_names, numbered_problems, unknown


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ("--seed", "did you mean '--seeds'?"),
        ("MINI", "did you mean 'mini'?"),
        ("zzz", ""),
    ],
)
def test_suggestions(got, expected):
    assert did_you_mean(got, ["--seeds", "--set", "--seg-data", "mini"]) == expected


def test_known_names_are_listed_and_cut():
    assert str(unknown("trick", "x", ["a", "b"])) == "unknown trick 'x'; known: a, b"
    assert str(unknown("trick", "x", [])) == "unknown trick 'x'; known: none"
    message = str(unknown("trick", "x", [f"name{i}" for i in range(50)]))
    assert message.endswith("name39, … (10 more)")
    assert listed_names(["a", "b", "c"], 2) == "a, b, … (1 more)"


def test_mistakes_are_collected():
    assert str(numbered_problems("Suite s has", ["one."])) == "Suite s has a mistake: one."
    assert (
        str(numbered_problems("It has", ["one.", "two."]))
        == "It has 2 mistakes:\n  - one.\n  - two."
    )
