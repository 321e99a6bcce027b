"""Top-k accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS


@METRICS.register_module()
class TopKAccuracy(BaseMetric):
    """The percentage of images whose true class is among the k best scores, for k = 1 and 5."""

    TOP = (1, 5)

    def process(self, data_batch: Any, data_samples: Sequence[int]) -> None:
        """Collect the ranks of the true classes of a batch."""
        self.results.extend(data_samples)

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        """Return `{'top1': …, 'top5': …}`."""
        return {f"top{k}": 100 * sum(rank < k for rank in results) / len(results) for k in self.TOP}
