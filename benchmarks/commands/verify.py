"""`verify` and `data verify`: check a run against published figures, or a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

from rich.markup import escape

from benchmarks.commands.request import make_console
from benchmarks.suite.names import KINDS
from contract.errors import UserError
from datasets.kinds import Kind
from datasets.verify import verify as verify_dataset

_MOST_SHOWN = 5


def verify(options: argparse.Namespace) -> int:
    """Check a run against published figures, or a dataset."""
    if options.path is not None:
        return verify_data(options.subject, options.path)
    if options.subject in KINDS:
        raise UserError(
            f"verify {options.subject} was given without a folder; write `verify {options.subject} PATH`, or "
            "`verify RUN_DIR` for a run."
        )
    return verify_run(Path(options.subject))


def verify_data(kind: str, path: Path) -> int:
    """Check one dataset."""
    report = verify_dataset(cast(Kind, kind), path)
    report.raise_for_errors()
    console = make_console()
    console.print(f"{path} is a sound {kind} dataset.", soft_wrap=True)
    console.print(escape(report.summary()), soft_wrap=True)
    found = (*report.repaired, *report.noted)
    for problem in found[:_MOST_SHOWN]:
        console.print(escape(f"  {problem.path}: {problem.message}"), soft_wrap=True)
    if len(found) > _MOST_SHOWN:
        console.print(f"  … and {len(found) - _MOST_SHOWN} more")
    return 0


def verify_run(folder: Path) -> int:
    """Compare a run with the figures and curves of its protocol; 1 if it is outside a band."""
    from benchmarks.results.comparison import compare, curve_warnings, not_compared
    from benchmarks.results.read import read_run

    run = read_run(folder)
    comparisons, slow = compare(run), curve_warnings(run)
    console = make_console()
    for line in (*(comparison.text for comparison in comparisons), *not_compared(run), *slow):
        console.print(escape(line), soft_wrap=True)
    outside = sum(not comparison.inside for comparison in comparisons)
    if not comparisons:
        console.print(
            f"No published figure has the protocol of {folder}: nothing was compared. See docs/evaluation.md.",
            soft_wrap=True,
        )
    else:
        console.print(f"{len(comparisons)} compared, {outside} outside their band.")
    return 1 if outside or slow else 0
