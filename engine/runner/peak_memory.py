"""The peak memory of a training, over all its parts and processes.

mmengine's LoggerHook resets torch's gauge whenever it logs, so the gauge itself only knows the time since.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook

from engine.runner.device import peak_memory_mib

PEAK = "peak_memory_mib"
RESERVED = "peak_reserved_mib"


def restart_peak_memory() -> None:
    """Leave what was measured so far out of the peak; the gauge of a CPU process cannot be reset."""
    if _on_gpu():
        torch.cuda.reset_peak_memory_stats()


def peak_memory(runner: Any) -> dict[str, float | None]:
    """Return the result's two fields: the peak in MiB of the run so far, including what is in the message hub."""
    kept = runner.message_hub.runtime_info
    now = _now()
    return {
        key: None if now[key] is None else max(now[key] or 0.0, kept.get(key) or 0.0) for key in now
    }


def _now() -> dict[str, float | None]:
    """Return the peaks in MiB since the last reset."""
    if not _on_gpu():
        return {PEAK: peak_memory_mib("cpu"), RESERVED: None}
    reserved = round(torch.cuda.max_memory_reserved() / 2**20, 1)
    return {PEAK: peak_memory_mib("cuda"), RESERVED: reserved}


def _on_gpu() -> bool:
    return torch.cuda.is_available()


class PeakMemoryHook(Hook):
    """Keep the running maximum in the message hub, which checkpoints include."""

    # Before LoggerHook, which resets the gauge.
    priority = "NORMAL"

    def _keep(self, runner: Any) -> None:
        for key, value in peak_memory(runner).items():
            if value is not None:
                runner.message_hub.update_info(key, value)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Read the gauge, which does not wait for the GPU."""
        self._keep(runner)

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Read the gauge."""
        self._keep(runner)

    def after_train(self, runner: Any) -> None:
        """Agree on the largest value of all processes."""
        self._keep(runner)
        for key in (PEAK, RESERVED):
            value = runner.message_hub.runtime_info.get(key)
            if value is not None:
                largest = torch.tensor(value, dtype=torch.float64)
                all_reduce(largest, "max")
                runner.message_hub.update_info(key, round(largest.item(), 1))
