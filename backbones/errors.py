"""Errors that are told to the user in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_LISTED = 40
_MOST_SUGGESTED = 3


class UserError(Exception):
    """A mistake of the user's, told in one sentence: what was got, what was expected, how to mend.

    The command line prints it without a traceback and ends with exit status 2.
    """


class OutputStrideError(UserError):
    """A network cannot be built at the output stride that was asked for; it can at 32."""


def did_you_mean(got: str, candidates: Iterable[str]) -> str:
    """Suggest the candidates that look like what was typed.

    Args:
        got: What the user typed; its case does not matter.
        candidates: What could have been meant.

    Returns:
        ``"did you mean 'a' or 'b'?"`` with the closest one first, or ``""`` where none is close.
    """
    by_lower_case = {candidate.lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(got.lower(), list(by_lower_case), n=_MOST_SUGGESTED)
    if not close:
        return ""
    quoted = [repr(by_lower_case[match]) for match in close]
    return f"did you mean {', '.join(quoted[:-1])}{' or ' if quoted[1:] else ''}{quoted[-1]}?"


def unknown(kind: str, got: str, candidates: Iterable[str]) -> UserError:
    """Build the error for a name that does not exist.

    Args:
        kind: What is named, as in ``"backbone"``.
        got: The name that the user gave.
        candidates: Every name that exists, in the order to list them.

    Returns:
        The error, to be raised by the caller. It suggests close names, then lists all of them,
        cut where the list is long.
    """
    known = list(candidates)
    listed = ", ".join(known[:_MOST_LISTED]) or "none"
    if len(known) > _MOST_LISTED:
        listed += f", … ({len(known) - _MOST_LISTED} more)"
    suggestion = did_you_mean(got, known)
    middle = f"; {suggestion} Known: " if suggestion else "; known: "
    return UserError(f"unknown {kind} {got!r}{middle}{listed}")
