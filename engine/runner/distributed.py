"""Several processes that train together, as torchrun starts them: on GPUs, and on a CPU too.

mmengine asks for a CUDA device wherever there are several processes. What it needs to do without lives here.
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
    """Whether torchrun started this process."""
    return "RANK" in os.environ


def world_size() -> int:
    """Processes that train together, as torchrun tells them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join() -> None:
    """Meet the other processes, on the GPU of this process's local rank or by gloo where there is none.

    The Runner would do so itself, but later than `is_main_process` is first needed, and not without a GPU.

    Raises:
        UserError: There are more processes than GPUs.
    """
    if not launched() or is_distributed():
        return
    if not torch.cuda.is_available():
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
    """Part from the other processes; torch warns of those that just end."""
    if is_distributed():
        distributed.destroy_process_group()


@MODEL_WRAPPERS.register_module()
class AnyDeviceDistributedDataParallel(MMDistributedDataParallel):
    """mmengine's wrapper, on whatever device the model is.

    Args:
        module: The model.
        device_ids: What mmengine's Runner gives, the local rank; meant for a GPU only.
        kwargs: Those of torch's `DistributedDataParallel`.
    """

    def __init__(
        self, module: nn.Module, device_ids: list[int] | None = None, **kwargs: Any
    ) -> None:
        on_cpu = next(module.parameters()).device.type == "cpu"
        super().__init__(module=module, device_ids=None if on_cpu else device_ids, **kwargs)
