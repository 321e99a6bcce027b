"""The error class for mistakes that a user can fix, and the wording for unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_LISTED = 40
_MOST_SUGGESTED = 3
_EQUALLY_CLOSE = 0.02


class UserError(Exception):
    """A user's mistake, in a sentence that says what was given, what was expected, and how to fix it.

    Commands print it without a traceback and exit with status 2.
    """


def did_you_mean(got: str, candidates: Iterable[str]) -> str:
    """Suggest the candidates that look like what was typed.

    Args:
        got: What the user typed, in any case.
        candidates: The names that exist.

    Returns:
        `"did you mean 'a' or 'b'?"` with the closest name first, or `""` if none is close.
    """
    by_lower_case = {candidate.lower(): candidate for candidate in candidates}
    typed = got.lower()
    close = difflib.get_close_matches(typed, list(by_lower_case), n=_MOST_SUGGESTED)
    if not close:
        return ""
    # Suggest a second name only if it is as close as the first.
    ratios = [difflib.SequenceMatcher(None, match, typed).ratio() for match in close]
    quoted = [
        repr(by_lower_case[match])
        for match, ratio in zip(close, ratios, strict=True)
        if ratio > ratios[0] - _EQUALLY_CLOSE
    ]
    return f"did you mean {', '.join(quoted[:-1])}{' or ' if quoted[1:] else ''}{quoted[-1]}?"


def unknown(kind: str, got: str, candidates: Iterable[str]) -> UserError:
    """Build the error for a name that does not exist.

    Args:
        kind: What the name stands for, for example `"backbone"`.
        got: The name that the user gave.
        candidates: The names that exist, in the order in which to list them.

    Returns:
        The error, for the caller to raise. It suggests close names and lists the known ones.
    """
    known = list(candidates)
    listed = listed_names(known, _MOST_LISTED) or "none"
    suggestion = did_you_mean(got, known)
    middle = f"; {suggestion} Known: " if suggestion else "; known: "
    return UserError(f"unknown {kind} {got!r}{middle}{listed}")


def listed_names(names: Iterable[str], most: int = 8) -> str:
    """Join names for a message; a long list is cut and says how many names are left out."""
    every = list(names)
    more = len(every) - most
    return ", ".join(every[:most]) + (f", … ({more} more)" if more > 0 else "")


def numbered_problems(opening: str, problems: list[str]) -> UserError:
    """Build one error from all the mistakes that were found.

    Args:
        opening: The subject and the verb, for example `"Suite my_suite.py has"`.
        problems: At least one sentence.
    """
    if len(problems) == 1:
        return UserError(f"{opening} a mistake: {problems[0]}")
    lines = [f"{opening} {len(problems)} mistakes:", *(f"  - {problem}" for problem in problems)]
    return UserError("\n".join(lines))
