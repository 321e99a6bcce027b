"""Batch statistics in runs of a few iterations."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import nn


@HOOKS.register_module()
class CumulativeStatisticsHook(Hook):
    """Use a cumulative instead of an exponential average of batch statistics, for runs of a few iterations.

    With the usual momentum of 0.1, the running statistics would still be near their initial 0 and 1. A network that
    is exported with them and then frozen would scale up its features layer by layer, up to NaN.
    """

    def before_train(self, runner: Any) -> None:
        """Set every batch norm's momentum to None, which is torch's cumulative average."""
        for module in runner.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = None
