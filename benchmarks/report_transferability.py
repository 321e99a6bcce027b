"""The report's section on transferability: scores taken before training beside the transfer that was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.columns import DECIMALS, KNOWN_COLUMNS, SCORE_DECIMALS, SCORE_LABELS
from benchmarks.report_sections import bullets, plain_table, section, swatch
from benchmarks.results import Run
from benchmarks.statistics import MIN_ROWS_FOR_RANKS, Aggregate
from benchmarks.suite_schema import SCORES
from benchmarks.table import ABSENT
from benchmarks.table_notes import STAGE_LABELS
from benchmarks.transferability import (
    TARGETS,
    RankAgreement,
    TransferabilityRow,
    by_protocol,
    rank_agreement,
    read_scores,
)

INTRODUCTION = (
    "Measured once before a detector or segmentor is trained, on labelled features of its training images: LogME "
    "(2102.11005), the H-score with a shrunk covariance (2110.06893) and, where the hand-off holds its classifier, "
    "LEEP (2002.12462). Higher promises more. Means over seeds."
)


def transferability_section(run: Run) -> str:
    """Scores and measured transfer by row, and how far their orders agree; empty where nothing was measured."""
    parts = []
    for stage, target in TARGETS.items():
        rows = read_scores(run, stage)
        if not rows:
            continue
        label = KNOWN_COLUMNS[target].label
        parts.append(
            f"<h3>{STAGE_LABELS[stage].capitalize()}</h3>"
            + _table(run, rows, label)
            + bullets(() if run.budget == "smoke" else _agreements(rows, label))
        )
    intro = f'<p class="quiet">{escape(INTRODUCTION)}</p>'
    return section("Transferability", intro + "".join(parts) if parts else "")


def _table(run: Run, rows: tuple[TransferabilityRow, ...], label: str) -> str:
    titles = [
        "row",
        *(f"{SCORE_LABELS[name]} ({unit})" for name, unit in SCORES.items()),
        "samples",
        label,
    ]
    lines = [
        [
            f"{swatch(run, row.row)}{escape(row.row)}"
            + ("" if row.pretrained else ' <span class="quiet">not pretrained</span>'),
            *(_number(row.scores[name], SCORE_DECIMALS) for name in SCORES),
            ", ".join(f"{count:,}" for count in row.samples),
            _number(row.measured, DECIMALS),
        ]
        for row in rows
    ]
    return plain_table(titles, lines)


def _number(summary: Aggregate | None, decimals: int) -> str:
    if summary is None:
        return ABSENT
    short = "" if summary.complete else f" ({summary.n} of {summary.planned} seeds)"
    return f"{summary.mean:.{decimals}f}{short}".replace("-", "−")


def _agreements(rows: Sequence[TransferabilityRow], label: str) -> Iterator[str]:
    """For each protocol that has enough rows, how far the order by each score is the order by the metric."""
    groups = by_protocol(rows)
    several = len(groups) > 1
    if several:
        groups = {k: rows for k, rows in groups.items() if len(rows) >= MIN_ROWS_FOR_RANKS}
    if several and not groups:
        yield (
            f"No rank correlation with {label}: a score knows nothing of tricks, so that only rows of the same tricks "
            f"are compared, and nowhere are there {MIN_ROWS_FOR_RANKS} pretrained ones."
        )
    for tricks, members in groups.items():
        of = f", rows with {', '.join(tricks) or 'no tricks'}" if several else ""
        for name in SCORES:
            yield f"{SCORE_LABELS[name]}{of}: {_agreement(members, name, label)}"


def _agreement(rows: Sequence[TransferabilityRow], score: str, label: str) -> str:
    """How far the order by a score is the order by the metric, in a sentence."""
    found = rank_agreement(rows, score)
    if not isinstance(found, RankAgreement):
        return f"no rank correlation with {label}: {found}."
    p_value = "< 0.001" if found.p_value < 0.001 else f"= {found.p_value:.3f}"
    return (
        f"Kendall's τ with {label} {found.tau:+.2f} (p {p_value}, {found.rows} pretrained rows), weighted τ "
        f"{found.weighted_tau:+.2f}; the spread over seeds is not accounted for."
    ).replace("-", "−")


__all__ = ["transferability_section"]
