"""Errors that are the user's to mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A user's mistake, told in a sentence: what was got, what was expected, how to mend it.

    Commands print it without a traceback and exit with status 2.
    """


def unknown(kind: str, got: str, candidates: Iterable[str]) -> UserError:
    """Builds the error for a name that is not among the known ones.

    Args:
        kind: What is named, for example `"suite"`.
        got: The name that was given.
        candidates: The names that exist.

    Returns:
        An error with the nearest candidate, if one is near, and the list of all.
    """
    known = sorted(set(candidates))
    if not known:
        return UserError(f"unknown {kind} {got!r}: there is no {kind} to choose from.")
    # Compared without case, as a wrong case is the likeliest slip.
    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(got.casefold(), by_folded, n=1, cutoff=0.6)
    hint = f" Did you mean {by_folded[near[0]]!r}?" if near else ""
    return UserError(f"unknown {kind} {got!r}.{hint} Choose one of: {', '.join(known)}.")
