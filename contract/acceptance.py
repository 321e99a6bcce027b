"""The report of `python -m benchmarks doctor --full`: one line per check, and the file for bug reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, FiniteFloat, ValidationError

from contract.models import Model

SCHEMA_VERSION = 1
# `note`: nothing is broken, but the reader should know, such as a GPU that waits for images.
Verdict = Literal["ok", "failed", "skipped", "note"]
_MARK = "@check "
_FACTS = "@facts "


class Line(Model):
    """The outcome of one check.

    Attributes:
        check: What was checked.
        found: What was found; for a skipped check, the reason.
        expected: What a working machine gives, with the tolerance.
        verdict: `ok`, `failed`, `skipped` or `note`.
        seconds: How long the check took; None if it was not timed on its own.
        numbers: What was measured, by name with its unit.
    """

    check: str
    found: str
    expected: str = ""
    verdict: Verdict
    seconds: FiniteFloat | None = None
    numbers: Mapping[str, FiniteFloat | None] = Field(default_factory=dict)


class Document(Model):
    """The content of the file that `--json` writes.

    Attributes:
        schema_version: Version of this schema.
        code: Commit, and whether tracked files were edited.
        packages: Versions of the packages that can change a number.
        python: Version of Python.
        platform: Operating system and processor architecture.
        device: What `engine.acceptance device` found; empty if it failed.
        driver: Versions and states by nvidia-smi; empty without it.
        findings: The findings of `doctor` without `--full`, as (what, found, state).
        checks: All lines, in the order in which they were printed.
        seconds: Time of all checks together.
        exit_status: 0 if nothing failed, else 1.
    """

    schema_version: Literal[1]
    code: Mapping[str, str | bool | None]
    packages: Mapping[str, str]
    python: str
    platform: str
    device: Mapping[str, Any] = Field(default_factory=dict)
    driver: Mapping[str, Any] = Field(default_factory=dict)
    findings: tuple[tuple[str, str, str], ...] = ()
    checks: tuple[Line, ...]
    seconds: float
    exit_status: Literal[0, 1]


def print_line(line: Line) -> None:
    """Print a line for the harness, as soon as its check is done: a later crash does not lose it."""
    print(_MARK + line.model_dump_json(), flush=True)


def parse_line(text: str) -> Line | None:
    """Return the line that `print_line` printed, or None for other output."""
    if not text.startswith(_MARK):
        return None
    try:
        return Line.model_validate(json.loads(text[len(_MARK) :]), strict=False)
    except (ValueError, ValidationError):
        return None


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print what is known about the device, for the harness."""
    print(_FACTS + json.dumps(facts), flush=True)


def parse_facts(text: str) -> dict[str, Any] | None:
    """Return what `print_facts` printed, or None for other output."""
    if not text.startswith(_FACTS):
        return None
    try:
        return json.loads(text[len(_FACTS) :])
    except ValueError:
        return None
