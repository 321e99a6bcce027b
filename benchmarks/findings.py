"""What the numbers allow one to say, in plain sentences, and what they do not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.columns import SCORE, MetricColumn
from benchmarks.integrity import diverged
from benchmarks.results import Run
from benchmarks.statistics import MIN_ROWS_FOR_RANKS, Difference, difference, rank_correlation
from benchmarks.table import Table, TableRow


@dataclass(frozen=True)
class Finding:
    """One sentence.

    Attributes:
        kind: `shown` (the interval of the difference excludes zero), `open` (these seeds cannot
            tell) or `note`.
        text: The sentence.
    """

    kind: str
    text: str


def find_findings(run: Run, table: Table) -> tuple[Finding, ...]:
    """State what a run shows about pretraining and about tricks.

    A difference counts as shown where Welch's 95% interval of the difference of the two means
    excludes zero. With one seed nothing is compared.

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
            "One seed was run. The difference between two seeds of one row is unknown, so no "
            "difference between two rows can be told from chance; run at least three seeds to "
            "compare rows."
        )
        return (Finding("note", text),)
    controls = [row for row in table.rows if not row.row.pretrain]
    pretrained = [row for row in table.rows if row.row.pretrain]
    # Points of percent; times depend on what else the machine did.
    merits = [column for column in table.columns if column.kind == SCORE]
    found: list[Finding] = []
    for control in controls[:1]:
        for column in merits:
            found += _against(run, pretrained, control, column)
    if len(pretrained) > 1:
        for column in merits:
            found += _against(run, pretrained[1:], pretrained[0], column)
    found += _rank_findings(pretrained, merits)
    found += [
        Finding(
            "note",
            f"{row} · {stage} diverged: its differences show that the learning rate is too high for it, and nothing of "
            "its backbone.",
        )
        for row, stage in diverged(run)
    ]
    if any(finding.kind != "note" for finding in found):
        text = (
            "Differences are in percentage points, each with its 95% interval (Welch). “More than "
            "the spread over seeds” means that the interval excludes zero. The intervals are not "
            "corrected for the number of comparisons."
        )
        found.append(Finding("note", text))
    return tuple(found)


def _against(
    run: Run, rows: list[TableRow], baseline: TableRow, column: MetricColumn
) -> Iterator[Finding]:
    """Compare rows with a baseline on one metric; rows of one verdict share a sentence.

    Rows with the baseline's own cells, as where they differ in a later stage alone, are not compared.
    """
    base = baseline.cells[column.name]
    if base.status in ("absent", "unavailable"):
        return
    same = _identities(run, baseline, column)
    rows = [row for row in rows if not same or _identities(run, row, column) != same]
    name, label = baseline.row.name, column.label
    verdicts: dict[str, list[tuple[str, str]]] = {"higher": [], "lower": [], "open": []}
    lacking = []
    for row in rows:
        group = row.cells[column.name]
        if base.aggregate is None or group.aggregate is None:
            lacking += [row.row.name] if group.status != "absent" else []
            continue
        gap = difference(group.aggregate, base.aggregate)
        verdict = ("higher" if gap.mean > 0 else "lower") if gap.resolved else "open"
        verdicts[verdict].append((row.row.name, _describe(gap)))
    for verdict, verbs in (
        ("higher", ("beats", "beat")),
        ("lower", ("falls short of", "fall short of")),
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
    elif lacking:
        yield Finding("note", f"{label}: there is no number for {_listed(lacking)}.")


def _identities(run: Run, row: TableRow, column: MetricColumn) -> set[str]:
    """Of the cells that a metric of a row is from, as far as they are known."""
    cells = run.of(row.row.name, column.stage)
    return {cell.identity for cell in cells if cell.identity is not None}


def _subject(members: list[tuple[str, str]], of: int) -> str:
    """Name the rows of a verdict, or count them where the differences name them anyway."""
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
    """Write a difference with its interval, in percentage points."""
    if gap.low is None or gap.high is None:
        return f"{_signed(gap.mean)} (one seed, no interval)"
    return f"{_signed(gap.mean)} ({_signed(gap.low)} to {_signed(gap.high)})"


def _signed(value: float) -> str:
    """Write a number with its sign, the minus being a minus."""
    return f"{value:+.2f}".replace("-", "−")


def _listed(texts: list[str]) -> str:
    """Join texts as a list in a sentence."""
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _rank_findings(rows: list[TableRow], columns: list[MetricColumn]) -> Iterator[Finding]:
    """Say whether the order of the rows by top-1 is their order in the dense tasks."""
    if not any(column.name == "top1" for column in columns):
        return
    for column in [column for column in columns if column.stage != "cls"]:
        pairs = [
            (top1.mean, dense.mean)
            for top1, dense in (
                (row.cells["top1"].aggregate, row.cells[column.name].aggregate) for row in rows
            )
            if top1 is not None and dense is not None
        ]
        if len(pairs) < MIN_ROWS_FOR_RANKS:
            continue
        correlation = rank_correlation(*zip(*pairs, strict=True))
        if not math.isnan(correlation):
            text = (
                f"The order of {len(pairs)} pretrained rows by top-1 and their order by "
                f"{column.label} have Spearman's rank correlation {_signed(correlation)} (of the "
                "means; the spread over seeds is not accounted for)."
            )
            yield Finding("note", text)
