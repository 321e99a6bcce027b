"""What happens around training in every stage: guard, receipt, curves, progress."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import rich.progress
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS
from torch import nn

from contract import progress
from contract.errors import UserError

RECEIPT = "checkpoint_receipt"
# The name must not begin with "val": mmengine logs whatever does.
VALIDATION_HISTORY = "history_of_validations"
ELAPSED = "elapsed_seconds"


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop at the first loss that is not a finite number.

    Raises:
        UserError: With epoch, iteration, the loss terms and the current learning rate.
    """

    priority = "HIGH"

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Look at the loss that mmengine's RuntimeInfoHook has just stored."""
        if math.isfinite(runner.message_hub.get_scalar("train/loss").current()):
            return
        terms = {name: float(value) for name, value in (outputs or {}).items()}
        lr = runner.optim_wrapper.get_lr()["lr"][0]
        raise UserError(
            f"the loss became {terms.get('loss')} in epoch {runner.epoch + 1}, iteration {runner.iter + 1} "
            f"(terms {terms}, learning rate {lr:.4g}); lower the learning rate, lengthen the warm-up, or "
            "look at the data with `python -m benchmarks data verify`"
        )


@HOOKS.register_module()
class ReceiptHook(Hook):
    """Prove, after the whole model is built and before the first step, that the weights went in.

    Args:
        checkpoint: The hand-off file that the backbone was to be loaded from.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint

    def before_train(self, runner: Any) -> None:
        """Compare tensor by tensor and keep the receipt where checkpoints carry it along.

        Raises:
            CheckpointError: A tensor of the built model differs from the file.
        """
        if runner.iter > 0:
            return
        model = runner.model.module if hasattr(runner.model, "module") else runner.model
        receipt = model.backbone.verify(self.checkpoint)
        runner.message_hub.update_info(RECEIPT, receipt.model_dump(exclude={"source"}))
        runner.logger.info(
            f"backbone: {receipt.matched} of {receipt.total} tensors equal {self.checkpoint}"
            + (
                ""
                if receipt.feature_error is None
                else f"; features on a fixed image differ by {receipt.feature_error:.0e} at most"
            )
        )


@HOOKS.register_module()
class ValidationHistoryHook(Hook):
    """Keep every validation's metrics, and validate where a killed run had not come to it.

    A checkpoint is written before the validation of its epoch. A run that is resumed from there owes that
    validation, the last one above all.
    """

    priority = "VERY_LOW"

    def before_train(self, runner: Any) -> None:
        """Catch up with a validation that is due at the resumed position."""
        if runner.iter == 0:
            return
        loop = runner.train_loop
        by_epoch = loop.max_epochs > 1 or loop.__class__.__name__ == "EpochBasedTrainLoop"
        position, end = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
        due = position % loop.val_interval == 0 or position == end
        history = runner.message_hub.runtime_info.get(VALIDATION_HISTORY, [])
        if due and not (history and history[-1]["step"] == runner.iter):
            runner.val_loop.run()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Append the metrics with the iteration and epoch they belong to."""
        history = list(runner.message_hub.runtime_info.get(VALIDATION_HISTORY, []))
        history.append({"step": runner.iter, "metrics": dict(metrics or {})})
        runner.message_hub.update_info(VALIDATION_HISTORY, history)


@HOOKS.register_module()
class StageCheckpointHook(CheckpointHook):
    """mmengine's checkpoints, carrying the time used so far."""

    def before_train(self, runner: Any) -> None:
        """Start the clock where the interrupted run stopped it."""
        super().before_train(runner)
        self._started = time.monotonic() - runner.message_hub.runtime_info.get(ELAPSED, 0.0)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Store the seconds of training so far."""
        elapsed = time.monotonic() - self._started
        runner.message_hub.update_info(ELAPSED, elapsed)
        checkpoint["message_hub"]["runtime_info"][ELAPSED] = elapsed

    def after_train(self, runner: Any) -> None:
        """Store the seconds of the whole run."""
        super().after_train(runner)
        runner.message_hub.update_info(ELAPSED, time.monotonic() - self._started)


@HOOKS.register_module()
class CpuTimeHook(Hook):
    """Log what each iteration took of this process' own CPU time, as mmengine's IterTimerHook logs the clock's.

    On a machine that others share, the clock also counts their work. Loader workers are processes of their own and
    are not counted.
    """

    def before_train_epoch(self, runner: Any) -> None:
        """Start after what a validation took."""
        self.used = time.process_time()

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Log the CPU seconds since the last iteration, data included where this process loads them."""
        used = time.process_time()
        runner.message_hub.update_scalar("train/cpu_time", used - self.used)
        self.used = used


@HOOKS.register_module()
class CumulativeStatisticsHook(Hook):
    """Average batch statistics over all iterations instead of exponentially, for runs of a few iterations.

    With the usual momentum of 0.1 the running statistics would still be near their start of 0 and 1, and a
    network that was handed off with them and frozen would multiply its features layer by layer, up to NaN.
    """

    def before_train(self, runner: Any) -> None:
        """Set every batch norm's momentum to None, which is torch's cumulative average."""
        for module in runner.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = None


@HOOKS.register_module()
class ProgressHook(Hook):
    """Progress with the time that is left: a bar for a person, lines of JSON for the harness.

    Args:
        stage: `'cls'`, `'det'` or `'seg'`.
        batch_size: Images of one iteration over all processes.
        interval_seconds: Least time between two reports.
    """

    priority = "LOWEST"

    def __init__(self, stage: str, batch_size: int, interval_seconds: float = 1.0) -> None:
        self.stage = stage
        self.batch_size = batch_size
        self.interval_seconds = interval_seconds
        self.machine = progress.is_asked_for()
        self.bar: rich.progress.Progress | None = None

    def before_train(self, runner: Any) -> None:
        """Start the clock, and the bar where there is a terminal."""
        self.first_iter, self.started, self.reported = runner.iter, time.monotonic(), 0.0
        if is_main_process() and not self.machine and sys.stderr.isatty():
            self.bar = rich.progress.Progress(
                *rich.progress.Progress.get_default_columns(),
                rich.progress.TextColumn("{task.fields[note]}"),
                console=rich.progress.Console(stderr=True),
            )
            self.task = self.bar.add_task(
                self.stage, total=runner.max_iters, completed=runner.iter, note=""
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
        loss = runner.message_hub.get_scalar("train/loss").current()
        if self.bar is not None:
            note = f"loss {loss:.3f}, {rate * self.batch_size:.1f} images/s"
            self.bar.update(self.task, completed=step, note=note)
        if self.machine:
            report = {
                "stage": self.stage,
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
        """Tell the harness what a validation gave, which may warn of a training that goes wrong."""
        if not (self.machine and is_main_process()):
            return
        test = runner.val_loop.dataloader.dataset
        past = runner.message_hub.runtime_info[VALIDATION_HISTORY]
        history = [entry["metrics"] for entry in past]
        report = {
            "stage": self.stage,
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
