"""Run the tests that are marked `gpu`, where the tests are installed."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.acceptance.perform import Check
from benchmarks.acceptance.session import Session
from contract.acceptance import Line

_FOLDER = "tests/gpu"
_LIMIT_SECONDS = 300.0
_COUNT = re.compile(r"(\d+) (passed|failed|skipped|errors?|xfailed|deselected)")
# pytest's exit status when no test was collected.
_NO_TESTS = 5


def checks(session: Session) -> list[Check]:
    """Return the check that runs them."""
    return [Check("tests marked gpu", partial(_tests, session), _LIMIT_SECONDS + 30)]


def _tests(session: Session) -> Iterator[Line]:
    name, expected = "tests marked gpu", "all pass"
    reason = None
    if not (session.root / _FOLDER).is_dir():
        reason = f"{_FOLDER} is not there"
    elif importlib.util.find_spec("pytest") is None:
        reason = "pytest is not installed (pip install -e '.[test]')"
    elif session.device == "cpu":
        reason = "they need a GPU"
    if reason is not None:
        yield Line(check=name, found=reason, expected=expected, verdict="skipped")
        return
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-m", "gpu", _FOLDER),
        *("-p", "no:cacheprovider", "--no-header"),
    ]
    outcome = session.run(command, limit_seconds=_LIMIT_SECONDS, threads=session.cores)
    counts = _counts(outcome.output)
    found = ", ".join(f"{number} {word}" for word, number in counts.items())
    if outcome.status == _NO_TESTS:
        yield Line(check=name, found="no test was found", expected=expected, verdict="note")
        return
    if outcome.problem is not None:
        found = f"{found or 'no result'}; {_first_failure(outcome.output) or outcome.problem}"
    passed = counts.get("passed", 0)
    verdict = "failed" if outcome.problem else "ok" if passed else "note"
    numbers = {word: float(number) for word, number in counts.items()}
    yield Line(check=name, found=found, expected=expected, verdict=verdict, numbers=numbers)


def _counts(output: str) -> dict[str, int]:
    """Read pytest's summary, such as `2 failed, 3 passed, 1 skipped in 4.20s`."""
    summaries = [line for line in output.splitlines() if _COUNT.search(line) and " in " in line]
    found = _COUNT.findall(summaries[-1]) if summaries else []
    return {word: int(number) for number, word in found}


def _first_failure(output: str) -> str | None:
    return next((line for line in output.splitlines() if line.startswith("FAILED ")), None)
