"""Let processes that train together agree on the iteration at which they save or stop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed

from engine.runner.distributed import TIMEOUT


class Agreement:
    """The largest number that any process had at the previous iteration.

    A signal reaches the processes at different iterations, and each has its own clock. They exchange one number per
    iteration in a group of their own, by gloo, and read it one iteration later. Thus nobody waits for the exchange, no
    GPU is involved, and all read the same number at the same iteration.
    """

    def __init__(self) -> None:
        # All processes make the group at the same point.
        self._group: Any = distributed.new_group(backend="gloo", timeout=TIMEOUT)
        self._work: Any = None
        self._largest: Tensor = torch.zeros(1, dtype=torch.int64)

    def exchange(self, number: int) -> int:
        """Send this iteration's number and return the largest of the previous iteration; 0 in the first."""
        found = self.finish()
        self._largest = torch.tensor([number])
        self._work = distributed.all_reduce(
            self._largest, distributed.ReduceOp.MAX, group=self._group, async_op=True
        )
        return found

    def finish(self) -> int:
        """Wait for an exchange that is under way; return its largest number, 0 if there is none."""
        if self._work is None:
            return 0
        self._work.wait()
        self._work = None
        return int(self._largest)

    def meet(self) -> None:
        """Wait until all processes are here."""
        self.finish()
        distributed.all_reduce(torch.zeros(1), group=self._group)
