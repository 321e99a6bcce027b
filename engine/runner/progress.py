"""Report progress with the remaining time: a bar on a terminal, lines of JSON for the harness."""

from __future__ import annotations

import sys
import time
from typing import Any

import rich.progress
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from rich.console import Console

from contract import progress
from engine.runner.validation import VALIDATION_HISTORY


@HOOKS.register_module()
class ProgressHook(Hook):
    """Report progress with the remaining time: a bar on a terminal, lines of JSON for the harness.

    Args:
        task: The name of the task.
        batch_size: Images of one iteration over all processes.
        interval_seconds: Least time between two reports.
    """

    priority = "LOWEST"

    def __init__(self, task: str, batch_size: int, interval_seconds: float = 1.0) -> None:
        self.task = task
        self.batch_size = batch_size
        self.interval_seconds = interval_seconds
        self.machine = progress.is_asked_for()
        self.bar: rich.progress.Progress | None = None

    def before_train(self, runner: Any) -> None:
        """Start the clock, and the bar if there is a terminal."""
        self.first_iter, self.started, self.reported = runner.iter, time.monotonic(), 0.0
        if is_main_process() and not self.machine and sys.stderr.isatty():
            self.bar = rich.progress.Progress(
                *rich.progress.Progress.get_default_columns(),
                rich.progress.TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self.bar_task = self.bar.add_task(
                self.task, total=runner.max_iters, completed=runner.iter, note=""
            )
            self.bar.start()

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Report at most once an interval, and at the last iteration."""
        now, step = time.monotonic(), runner.iter + 1
        last = step == runner.max_iters
        if not is_main_process() or (now - self.reported < self.interval_seconds and not last):
            return
        self.reported = now
        rate = (step - self.first_iter) / max(now - self.started, 1e-9)
        # The message hub may get the losses of several iterations together, later.
        loss = float(torch.as_tensor((outputs or {})["loss"]).detach())
        if self.bar is not None:
            note = f"loss {loss:.3f}, {rate * self.batch_size:.1f} images/s"
            self.bar.update(self.bar_task, completed=step, note=note)
        if self.machine:
            report = {
                "stage": self.task,
                "step": step,
                "steps": runner.max_iters,
                "epoch": runner.epoch + 1,
                "epochs": runner.max_epochs,
                "eta_seconds": round((runner.max_iters - step) / rate, 1),
                "loss": round(float(loss), 4),
                "images_per_second": round(rate * self.batch_size, 1),
            }
            progress.write(report)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Report the scores of a validation to the harness; they can show early that a training fails."""
        if not (self.machine and is_main_process()):
            return
        test = runner.val_loop.dataloader.dataset
        past = runner.message_hub.runtime_info[VALIDATION_HISTORY]
        history = [entry["metrics"] for entry in past]
        report = {
            "stage": self.task,
            "epoch": runner.epoch,
            "epochs": runner.max_epochs,
            "best": {name: round(max(m[name] for m in history), 4) for name in metrics or {}},
            "classes": len(test.metainfo["classes"]),
            "test_images": test.images_used,
        }
        progress.write(report)

    def after_train(self, runner: Any) -> None:
        """Leave the finished bar on the screen."""
        if self.bar is not None:
            self.bar.stop()
