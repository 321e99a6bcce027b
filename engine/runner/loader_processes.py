"""The processes that load images, and how their batches reach the device. Nothing here changes a number."""

from __future__ import annotations

import os
from typing import Any

from mmengine.config import Config
from mmengine.model import is_model_wrapper

from contract.errors import UserError
from contract.machine import cpu_cores
from engine.runner.distributed import local_processes

# More do not help: they compete for the file system and for memory.
MOST_WORKERS = 32


def wire_processes_of_loaders(config: Config, device_type: str, *, by_harness: bool) -> None:
    """Set workers, pinned memory and persistence of both loaders of a Runner config.

    Args:
        config: The config; a `num_workers` of None is replaced.
        device_type: `cpu` or `cuda`.
        by_harness: Whether the harness started the run; its number of threads is then the run's share of the cores.

    Raises:
        UserError: A number of workers is none.
    """
    for loader in (config.train_dataloader, config.val_dataloader):
        workers = loader.get("num_workers")
        if workers is None:
            loader.num_workers = automatic_workers(device_type, by_harness=by_harness)
        elif isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
            raise UserError(
                f"workers={workers!r} was given; expected a number of loader processes, 0 or more, or None for an "
                "automatic choice"
            )
        loader.persistent_workers = loader.num_workers > 0
        # Copies to a GPU from other memory block the host.
        loader.pin_memory = device_type == "cuda"


def automatic_workers(device_type: str, *, by_harness: bool = False) -> int:
    """Return the number of loader processes of one training process on this machine.

    On a CPU the cores train, and one or two workers are enough. With GPUs, the cores are divided among the processes of
    the run on this machine; each keeps one for itself.

    Args:
        device_type: `cpu` or `cuda`.
        by_harness: See `wire_processes_of_loaders`.
    """
    cores = cpu_cores()
    if device_type == "cpu":
        return 1 if cores <= 2 else 2
    share = cores // local_processes()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    # Without the harness, torchrun sets the variable to 1, and users set it for other reasons.
    if by_harness and threads.isdigit():
        share = min(share, int(threads))
    return max(1, min(MOST_WORKERS, share - 1))


def copy_without_blocking(runner: Any) -> None:
    """Let a Runner's data preprocessor copy from pinned memory while the host goes on.

    mmsegmentation's preprocessor has no argument for it, so the attribute of mmengine's base class is set.
    """
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    model.data_preprocessor._non_blocking = True
