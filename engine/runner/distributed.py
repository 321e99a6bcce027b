"""Distributed training with torchrun, on GPUs or on a CPU.

mmengine requires a CUDA device for several processes; this module removes that requirement.
"""

from __future__ import annotations

import datetime
import os
import time
from typing import Any

import torch
from mmengine.dist import is_distributed
from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS
from torch import distributed, nn
from torch.distributed import (
    PrefixStore,  # pyright: ignore[reportPrivateImportUsage]
    Store,  # pyright: ignore[reportPrivateImportUsage]
    rendezvous,  # pyright: ignore[reportPrivateImportUsage]
)

from contract.errors import UserError
from engine.gpus import gpu_index
from engine.runner.unused_parameters import unused_parameters

# The longest wait for another process within a step, a checkpoint or a test, which all processes share.
TIMEOUT = datetime.timedelta(minutes=15)
# Keys of the store that the processes share.
_FAILED, _FINISHED, _LEFT = "first rank to fail", "rank 0 has finished", "ranks that have left"
_POLL_SECONDS = 0.1
_store: Store | None = None


def launched() -> bool:
    """Return whether torchrun started this process."""
    return "RANK" in os.environ


def local_processes() -> int:
    """Return how many processes of this run are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if launched() else 1


def world_size() -> int:
    """Return the number of processes that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join(device_type: str) -> None:
    """Join the process group: NCCL on the GPU of `gpu_index`, or gloo on a CPU.

    The Runner would do this itself, but only after the first use of `is_main_process`, and not without a GPU.

    Args:
        device_type: The resolved device, `cpu` or `cuda`.

    Raises:
        UserError: There are more processes than GPUs.
    """
    if not launched() or is_distributed():
        return
    backend = "gloo"
    if device_type == "cuda":
        _set_gpu()
        backend = "nccl"
    global _store
    _store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
    distributed.init_process_group(
        backend,
        timeout=TIMEOUT,
        store=PrefixStore("group", _store),
        rank=rank,
        world_size=size,
    )


def _set_gpu() -> None:
    index, gpus = gpu_index(), torch.cuda.device_count()
    if index >= gpus:
        raise UserError(
            f"{os.environ.get('LOCAL_WORLD_SIZE', 'more')} processes were started on a machine that shows {gpus} "
            f"GPU(s); start it with --nproc_per_node {gpus}, or look at CUDA_VISIBLE_DEVICES"
        )
    torch.cuda.set_device(index)


def is_joined() -> bool:
    """Return whether this process has a store in common with others."""
    return _store is not None


def is_first_to_fail() -> bool:
    """Record that this process failed, and return whether no other one did before; True outside of a group."""
    if _store is None:
        return True
    rank = os.environ["RANK"]
    try:
        return _store.compare_set(_FAILED, "", rank).decode() == rank
    except RuntimeError:
        # The process that keeps the store has ended.
        return True


def leave() -> None:
    """Leave the process group after a run, all processes together.

    The end of a group of NCCL waits for all its processes. Rank 0 may still measure for hours after the last step that
    all share, so the others wait for it here, without a limit: if rank 0 fails, torchrun ends them.
    """
    if not is_distributed() or _store is None:
        return
    others = distributed.get_world_size() - 1
    if distributed.get_rank() == 0:
        _store.set(_FINISHED, "1")
        # Rank 0 may be the one that keeps the store.
        while int(_store.add(_LEFT, 0)) < others:
            time.sleep(_POLL_SECONDS)
    else:
        # Unlike `wait`, this can be interrupted.
        while not _store.check([_FINISHED]):
            time.sleep(_POLL_SECONDS)
        _store.add(_LEFT, 1)
    distributed.destroy_process_group()


@MODEL_WRAPPERS.register_module()
class AnyDeviceDistributedDataParallel(MMDistributedDataParallel):
    """mmengine's wrapper, for a model on any device, and with any backbone.

    Args:
        module: The model.
        device_ids: The local rank, from mmengine's Runner. Not used, because a GPU may have another number.
        kwargs: Arguments of torch's `DistributedDataParallel`. `find_unused_parameters` is decided here unless it is
            given.
    """

    def __init__(
        self, module: nn.Module, device_ids: list[int] | None = None, **kwargs: Any
    ) -> None:
        on_cpu = next(module.parameters()).device.type == "cpu"
        if "find_unused_parameters" not in kwargs:
            unused = unused_parameters(module)
            if unused:
                print_log(
                    f"{len(unused)} parameters of the backbone get no gradient, such as {unused[0]}; the processes "
                    "look for them in every step",
                    logger="current",
                )
            kwargs["find_unused_parameters"] = bool(unused)
        gpu = None if on_cpu else [torch.cuda.current_device()]
        super().__init__(module=module, device_ids=gpu, **kwargs)
