"""Learning-rate schedules that mmengine lacks."""

from __future__ import annotations

from typing import Any

from mmengine.optim import LinearLR
from mmengine.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmUp(LinearLR):
    """Learning rate i · η / m in iteration i = 1 … m (paper §3.1).

    mmengine's ramp takes its start factor in the first of m iterations and 1 in the last, so that
    it is the paper's with the start factor 1 / m, and m is known only when the epochs have become
    iterations.

    Args:
        optimizer: The optimiser or its wrapper, whose learning rate is η.
        begin: The iteration before the first.
        end: `begin` + m.
        last_step: See mmengine.
        by_epoch: False; configs count in epochs with `convert_to_iter_based`.
        verbose: See mmengine.
    """

    def __init__(
        self,
        optimizer: Any,
        begin: int,
        end: int,
        last_step: int = -1,
        by_epoch: bool = False,
        verbose: bool = False,
    ) -> None:
        # A shortened run may leave less than one iteration of warm-up.
        end = max(end, begin + 1)
        super().__init__(
            optimizer,
            start_factor=1 / (end - begin),
            begin=begin,
            end=end,
            last_step=last_step,
            by_epoch=by_epoch,
            verbose=verbose,
        )
