"""Conclusions from the numbers, and open questions, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.report.table import Table, TableRow
from benchmarks.results.columns import MetricColumn, main_column
from benchmarks.results.read import RunFolder
from benchmarks.results.statistics import (
    MIN_ROWS_FOR_RANKS,
    Difference,
    difference,
    rank_correlation,
)
from benchmarks.results.warnings import diverged
from contract.tasks import SOURCE


@dataclass(frozen=True)
class Finding:
    """One sentence.

    Attributes:
        kind: `shown` (the interval of the difference excludes zero), `open` (these seeds cannot decide) or `note`.
        text: The sentence.
    """

    kind: str
    text: str


def find_findings(run: RunFolder, table: Table) -> tuple[Finding, ...]:
    """List conclusions about pretraining and about tricks.

    A difference counts as shown if Welch's 95% interval of the difference of the two means
    excludes zero. With one seed, nothing is compared.

    Args:
        run: A run folder as read.
        table: Its table.

    Returns:
        The findings, the most important first.
    """
    if run.budget == "smoke":
        return (Finding("note", "A smoke run shows that the chain runs; it compares nothing."),)
    if len(run.seeds) < 2:
        text = (
            "One seed was run. How far two seeds of one row differ is unknown, so any difference between two rows may "
            "be chance; run at least three seeds to compare rows."
        )
        return (Finding("note", text),)
    controls = [row for row in table.rows if not row.row.pretrain]
    pretrained = [row for row in table.rows if row.row.pretrain]
    # Times depend on what else the machine did.
    scores = [column for column in table.columns if column.kind == "score"]
    found: list[Finding] = []
    for control in controls[:1]:
        for column in scores:
            found += _against(run, pretrained, control, column)
    if len(pretrained) > 1:
        for column in scores:
            found += _against(run, pretrained[1:], pretrained[0], column)
    found += _rank_findings(pretrained, scores)
    found += [
        Finding(
            "note",
            f"{row} · {task} diverged: its differences show that the learning rate is too high for it, and nothing "
            "about its backbone.",
        )
        for row, task in diverged(run)
    ]
    if any(finding.kind != "note" for finding in found):
        units = (
            "percentage points"
            if all(column.unit == "%" for column in scores)
            else "the unit of their column, percentage points where it has none"
        )
        text = (
            f"Differences are in {units}, each with its 95% interval (Welch). “More than "
            "the spread over seeds” means that the interval excludes zero. The intervals are not "
            "corrected for the number of comparisons."
        )
        found.append(Finding("note", text))
    return tuple(found)


def _against(
    run: RunFolder, rows: list[TableRow], baseline: TableRow, column: MetricColumn
) -> Iterator[Finding]:
    """Compare rows with a baseline on one metric; rows with the same verdict are in one sentence.

    Rows that reuse the baseline's runs, because they differ only in a later task, are not compared.
    """
    base = baseline.cells[column.name]
    if base.status in ("absent", "unavailable"):
        return
    same = _identities(run, baseline, column)
    rows = [row for row in rows if not same or _identities(run, row, column) != same]
    name, label = baseline.row.name, column.label
    verdicts: dict[str, list[tuple[str, str]]] = {"better": [], "worse": [], "open": []}
    missing = []
    for row in rows:
        group = row.cells[column.name]
        if base.aggregate is None or group.aggregate is None:
            missing += [row.row.name] if group.status != "absent" else []
            continue
        gap = difference(group.aggregate, base.aggregate)
        verdict = ("better" if column.merit(gap.mean) > 0 else "worse") if gap.resolved else "open"
        verdicts[verdict].append((row.row.name, _describe(gap)))
    for verdict, verbs in (
        ("better", ("beats", "beat")),
        ("worse", ("falls short of", "fall short of")),
    ):
        if verdicts[verdict]:
            subject = _subject(verdicts[verdict], len(rows))
            verb = verbs[len(verdicts[verdict]) > 1]
            reach = "by more than the spread over seeds"
            gaps = _gaps(verdicts[verdict])
            yield Finding("shown", f"{label}: {subject} {verb} {name} {reach}: {gaps}.")
    if verdicts["open"]:
        subject = _subject(verdicts["open"], len(rows)).removeprefix("both ")
        subject = subject.replace("all ", "any of ", 1) if len(verdicts["open"]) > 2 else subject
        gaps = _gaps(verdicts["open"])
        yield Finding("open", f"{label}: these seeds cannot tell {subject} from {name}: {gaps}.")
    if base.aggregate is None:
        yield Finding("note", f"{label}: {name} has no number, so nothing is compared with it.")
    elif missing:
        yield Finding("note", f"{label}: there is no number for {_listed(missing)}.")


def _identities(run: RunFolder, row: TableRow, column: MetricColumn) -> set[str]:
    """Return the known identities of the runs behind a column of a row."""
    records = run.of(row.row.name, column.task)
    return {record.identity for record in records if record.identity is not None}


def _subject(members: list[tuple[str, str]], of: int) -> str:
    """Name the rows of a verdict, or count them if the differences already name them."""
    if len(members) > 2:
        return f"all {of} rows" if len(members) == of else f"{len(members)} of {of} rows"
    names = _listed([row for row, _ in members])
    return f"both {names}" if len(members) == of == 2 else names


def _gaps(members: list[tuple[str, str]]) -> str:
    """List the differences; a single one needs no name."""
    if len(members) == 1:
        return members[0][1]
    return _listed([f"{row} {gap}" for row, gap in members])


def _describe(gap: Difference) -> str:
    """Write a difference with its interval."""
    if gap.low is None or gap.high is None:
        return f"{_signed(gap.mean)} (one seed, no interval)"
    return f"{_signed(gap.mean)} ({_signed(gap.low)} to {_signed(gap.high)})"


def _signed(value: float) -> str:
    """Write a number with its sign, with a real minus sign."""
    return f"{value:+.2f}".replace("-", "−")


def _listed(texts: list[str]) -> str:
    """Join texts as a list in a sentence."""
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _rank_findings(rows: list[TableRow], columns: list[MetricColumn]) -> Iterator[Finding]:
    """Yield the rank correlations between the source task's main metric and those of the other tasks."""
    source = main_column(SOURCE)
    if source not in columns:
        return
    for column in [column for column in columns if column.task != SOURCE]:
        pairs = [
            (source.merit(first.mean), column.merit(second.mean))
            for first, second in (
                (row.cells[source.name].aggregate, row.cells[column.name].aggregate) for row in rows
            )
            if first is not None and second is not None
        ]
        if len(pairs) < MIN_ROWS_FOR_RANKS:
            continue
        correlation = rank_correlation(*zip(*pairs, strict=True))
        if not math.isnan(correlation):
            text = (
                f"The order of {len(pairs)} pretrained rows by {source.label} and their order by "
                f"{column.label} have Spearman's rank correlation {_signed(correlation)} (of the "
                "means; the spread over seeds is not accounted for)."
            )
            yield Finding("note", text)
