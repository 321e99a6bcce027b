"""Distributed training with torchrun, on GPUs or on a CPU.

mmengine requires a CUDA device for several processes; this module removes that requirement.
"""

from __future__ import annotations

import datetime
import os
from typing import Any

import torch
from mmengine.dist import is_distributed
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS
from torch import distributed, nn

from contract.errors import UserError

# Rank 0 evaluates alone while the others wait; torch's default of ten minutes is short for a large test set.
TIMEOUT = datetime.timedelta(hours=1)


def launched() -> bool:
    """Return whether torchrun started this process."""
    return "RANK" in os.environ


def world_size() -> int:
    """Return the number of processes that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join(device_type: str) -> None:
    """Join the process group: NCCL on the GPU of this process's local rank, or gloo on a CPU.

    The Runner would do this itself, but only after the first use of `is_main_process`, and not without a GPU.

    Args:
        device_type: The resolved device, `cpu` or `cuda`.

    Raises:
        UserError: There are more processes than GPUs.
    """
    if not launched() or is_distributed():
        return
    if device_type == "cpu":
        distributed.init_process_group("gloo", timeout=TIMEOUT)
        return
    rank, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if rank >= gpus:
        raise UserError(
            f"torchrun started {os.environ.get('LOCAL_WORLD_SIZE', 'more')} processes on a machine that shows "
            f"{gpus} GPU(s); start it with --nproc_per_node {gpus}, or look at CUDA_VISIBLE_DEVICES"
        )
    torch.cuda.set_device(rank)
    distributed.init_process_group("nccl", timeout=TIMEOUT)


def leave() -> None:
    """Leave the process group; torch warns about processes that exit without doing so."""
    if is_distributed():
        distributed.destroy_process_group()


@MODEL_WRAPPERS.register_module()
class AnyDeviceDistributedDataParallel(MMDistributedDataParallel):
    """mmengine's wrapper, for a model on any device.

    Args:
        module: The model.
        device_ids: The local rank, from mmengine's Runner; used only on a GPU.
        kwargs: Arguments of torch's `DistributedDataParallel`.
    """

    def __init__(
        self, module: nn.Module, device_ids: list[int] | None = None, **kwargs: Any
    ) -> None:
        on_cpu = next(module.parameters()).device.type == "cpu"
        super().__init__(module=module, device_ids=None if on_cpu else device_ids, **kwargs)
