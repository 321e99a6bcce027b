"""Verify that a model contains the weights of its pretrained checkpoint before it trains."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

import backbones

LOAD_REPORT = "checkpoint_load_report"


@HOOKS.register_module()
class LoadReportHook(Hook):
    """Compare the built model with its pretrained checkpoint before the first step.

    Args:
        checkpoint: The file that the backbone was loaded from.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint

    def before_train(self, runner: Any) -> None:
        """Compare tensor by tensor, and keep the load report in every later checkpoint of the run.

        Raises:
            CheckpointError: A tensor of the built model differs from the file.
        """
        if runner.iter > 0:
            return
        model = runner.model.module if hasattr(runner.model, "module") else runner.model
        report = model.backbone.verify(self.checkpoint)
        runner.message_hub.update_info(LOAD_REPORT, report.model_dump(exclude={"source"}))
        features = ""
        if report.feature_error is not None:
            features = f"; features on a fixed image differ by {report.feature_error:.0e} at most"
        runner.logger.info(
            f"backbone: {report.matched} of {report.total} tensors equal {self.checkpoint}{features}"
        )

    def before_train_epoch(self, runner: Any) -> None:
        """Free the file's tensors: every hook has read what it needs."""
        backbones.forget_checkpoints()
