"""Histories of logged scalars whose cost and size do not grow with the number of iterations.

mmengine's `HistoryBuffer` copies the whole history at every update and stores it in every checkpoint. Here an update
copies nothing, and old values are added up in groups of equal size once there are many. A value and its count are sums
over a group, as in mmengine's own means, so `value / count` is the mean of the group. Checkpoints contain mmengine's
type.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.registry import HOOKS

# Twice as many entries are kept at most. The latest ones stay single, for means over the last iterations.
MOST_GROUPS = 8192
LATEST = 2048


class BoundedHistory(HistoryBuffer):
    """A `HistoryBuffer` of at most `2 * MOST_GROUPS` entries.

    Args:
        history: The values so far.
    """

    def __init__(self, history: HistoryBuffer) -> None:
        self.max_length = history.max_length
        self._set_default_statistics()
        self._entries = np.empty((2, 2 * MOST_GROUPS))
        self._used = 0
        # Entries of a history made by mmengine or by this class; a longer one is shortened as if it grew here.
        for value, count in zip(*history.data, strict=True):
            self.update(float(value), int(count))

    @property
    def _log_history(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._entries[0, : self._used]

    @property
    def _count_history(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._entries[1, : self._used]

    def update(self, log_val: int | float, count: int | float = 1) -> None:
        """Append a value; a full buffer is shortened first.

        Args:
            log_val: The value, or the sum of a group.
            count: The number of values in the group.
        """
        if self._used == self._entries.shape[1]:
            self._shorten()
        self._entries[:, self._used] = log_val, count
        self._used += 1

    def _shorten(self) -> None:
        """Add up all but the latest entries in groups: of the smallest power of two that makes `MOST_GROUPS` or fewer.

        The last group may be incomplete; the next call completes it, because it still starts at a multiple of the size.
        """
        old = self._used - LATEST
        values, counts = self._entries[:, :old]
        size = 1
        while counts.sum() > size * MOST_GROUPS:
            size *= 2
        group = ((np.cumsum(counts) - counts) // size).astype(np.int64)
        sums = [np.bincount(group, weights=each) for each in (values, counts)]
        kept = self._entries[:, old : self._used].copy()
        self._used = sums[0].size + LATEST
        self._entries[:, : sums[0].size] = sums
        self._entries[:, sums[0].size : self._used] = kept

    def __deepcopy__(self, memo: dict[int, Any]) -> HistoryBuffer:
        """Return mmengine's type, which `MessageHub.state_dict` puts into checkpoints."""
        copied = HistoryBuffer(max_length=self.max_length)
        copied._log_history, copied._count_history = self._entries[:, : self._used].copy()
        return copied


class BoundedScalars(OrderedDict[str, HistoryBuffer]):
    """The scalars of a message hub, each as a `BoundedHistory`."""

    def __setitem__(self, name: str, history: HistoryBuffer) -> None:
        bounded = history if isinstance(history, BoundedHistory) else BoundedHistory(history)
        super().__setitem__(name, bounded)


@HOOKS.register_module()
class BoundedHistoryHook(Hook):
    """Keep the scalars of the Runner's message hub in bounded histories, those of a resumed checkpoint too."""

    priority = "VERY_HIGH"

    def before_run(self, runner: Any) -> None:
        """Replace the hub's dictionary; mmengine loads a checkpoint into it later."""
        hub = runner.message_hub
        hub._log_scalars = BoundedScalars(hub.log_scalars)
