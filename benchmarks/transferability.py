"""What the scores before training promised, held against what transfer then brought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from benchmarks.results import Run, metric_values
from benchmarks.statistics import MIN_ROWS_FOR_RANKS, Aggregate, aggregate
from benchmarks.suite_schema import SCORES

# The measured transfer that each stage's scores are to predict.
TARGETS = {"det": "map", "seg": "miou"}


@dataclass(frozen=True)
class RankAgreement:
    """How far a score orders rows as their measured transfer does.

    Attributes:
        tau: Kendall's τ-b, in [−1, 1].
        p_value: Of the two-sided test that the orders are independent.
        weighted_tau: Vigna's weighted τ, in which the best rows count most; LogME's paper reports it.
        rows: How many rows were compared.
    """

    tau: float
    p_value: float
    weighted_tau: float
    rows: int


@dataclass(frozen=True)
class TransferabilityRow:
    """One row of the suite in one stage.

    Attributes:
        row: Its name.
        pretrained: Whether it counts in the rank correlation.
        tricks: The stage's own, such as `frozen_backbone`: by them rows are trained differently.
        samples: How many samples the scores were taken on; several where seeds differ.
        scores: By the name of the score, over seeds; None where it was not measured.
        measured: The stage's metric; None where there is none yet.
    """

    row: str
    pretrained: bool
    tricks: tuple[str, ...]
    samples: tuple[int, ...]
    scores: dict[str, Aggregate | None]
    measured: Aggregate | None


def read_scores(run: Run, stage: str) -> tuple[TransferabilityRow, ...]:
    """Collect the scores of a stage, mean over seeds; rows of which nothing was measured are left out."""
    found = []
    for row in run.rows:
        cells = run.of(row.name, stage)
        results = [cell.result for cell in cells if cell.result is not None]
        samples = {score.samples for result in results for score in result.transferability}
        if not samples:
            continue

        def over_seeds(name: str, cells: Sequence = cells) -> Aggregate | None:
            values = metric_values(cells, name)
            return aggregate(list(values.values()), len(cells)) if values else None

        found.append(
            TransferabilityRow(
                row=row.name,
                pretrained=row.pretrain,
                tricks=tuple(sorted(results[0].tricks)),
                samples=tuple(sorted(samples)),
                scores={name: over_seeds(f"{stage}_{name}") for name in SCORES},
                measured=over_seeds(TARGETS[stage]),
            )
        )
    return tuple(found)


def by_protocol(
    rows: Sequence[TransferabilityRow],
) -> dict[tuple[str, ...], list[TransferabilityRow]]:
    """Pretrained rows by their tricks: a score knows nothing of how a row is then trained, and can only rank equals."""
    groups: dict[tuple[str, ...], list[TransferabilityRow]] = {}
    for row in rows:
        if row.pretrained:
            groups.setdefault(row.tricks, []).append(row)
    return groups


def rank_agreement(rows: Sequence[TransferabilityRow], score: str) -> RankAgreement | str:
    """Correlate the order by a score with the order by the measured metric, over pretrained rows.

    Args:
        rows: As `read_scores` returns them.
        score: Name of the score.

    Returns:
        The correlation, or why there is none, as the end of a sentence.
    """
    pairs = [
        (promised.mean, row.measured.mean)
        for row in rows
        if row.pretrained and row.measured and (promised := row.scores[score])
    ]
    if len(pairs) < MIN_ROWS_FOR_RANKS:
        have = "row has" if len(pairs) == 1 else "rows have"
        return f"{len(pairs)} pretrained {have} both, and fewer than {MIN_ROWS_FOR_RANKS} are no ranking"
    first, second = zip(*pairs, strict=True)
    if len(set(first)) == 1 or len(set(second)) == 1:
        return f"all {len(pairs)} pretrained rows have the same value, which is no ranking"
    # scipy's declared type of both is wider than what they return.
    plain: Any = stats.kendalltau(first, second)
    weighted: Any = stats.weightedtau(first, second)
    return RankAgreement(
        float(plain.statistic), float(plain.pvalue), float(weighted.statistic), len(pairs)
    )
