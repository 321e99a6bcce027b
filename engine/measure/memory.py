"""The device memory of a training step, computed without the device.

The network runs on fake tensors: shapes, dtypes and devices without data. What autograd saves is counted, so the
number follows from the code that will train, in a second or two, on any machine.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode

MIB, GIB = 2**20, 2**30
# Memory that no tensor of the network accounts for: convolution workspaces, and blocks that the allocator cannot use
# because they are too small. timm's table of ResNet-50-D and ResNet-152-D on 24 GB (mixed precision, NHWC) allows for
# between 5% and 20%.
MARGIN = 0.15
WORKSPACE_BYTES = 512 * MIB
# Batch norm needs more than one value per channel.
_SIZES = (2, 4)

# How other parts of CUDA than torch's allocator say it: the driver, and libraries that allocate their own workspaces.
_FULL = re.compile(r"CUDA error: out of memory|CU(BLAS|DNN|SOLVER)_STATUS_ALLOC_FAILED")

# Runs the network on n images of the training size, as a training step does, and returns the loss.
RunStep = Callable[[Any, int, torch.device], Tensor]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the device's memory is full."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _FULL.search(str(error)) is not None


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a training step adds to those of the weights.

    Attributes:
        fixed: Gradients and the optimiser's state, and whatever else does not depend on the number of images.
        per_image: What autograd keeps of an image, with the image itself.
        transient: Per image, the largest gradients of the backward pass.
    """

    fixed: float
    per_image: float
    transient: float = 0.0

    def of(self, images: int) -> float:
        """Return the bytes of a pass on so many images, with a margin for workspaces and fragmentation."""
        activations = images * (self.per_image + self.transient)
        return (1 + MARGIN) * (self.fixed + activations) + WORKSPACE_BYTES


def step_memory(
    model: nn.Module,
    run: RunStep,
    *,
    device: str = "cuda",
    dtype: torch.dtype | None = None,
    state_per_weight: int = 1,
) -> StepMemory:
    """Compute the memory of a training step from two runs on fake tensors.

    Args:
        model: The network in training mode, on any device; it is not changed.
        run: Runs it on n images on a device, and returns the loss.
        device: Type of the device that will train; it need not exist here.
        dtype: Of autocast; None for a training in float32.
        state_per_weight: Numbers of 4 bytes that the optimiser keeps per trained weight: 1 for SGD with momentum, 2
            for Adam.

    Raises:
        Exception: The network's code depends on values, or uses an operation without shapes; any type, because the
            code may be the user's.
    """
    few, more = (_saved_bytes(model, run, size, device, dtype) for size in _SIZES)
    per_image = (more.saved - few.saved) / (_SIZES[1] - _SIZES[0])
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return StepMemory(
        fixed=(1 + state_per_weight) * trained + few.saved - _SIZES[0] * per_image,
        per_image=per_image,
        # The gradient of the largest map, and that of its input.
        transient=2 * (more.largest - few.largest) / (_SIZES[1] - _SIZES[0]),
    )


@dataclass(frozen=True)
class _Saved:
    saved: int
    largest: int


def _saved_bytes(
    model: nn.Module, run: RunStep, images: int, device: str, dtype: torch.dtype | None
) -> _Saved:
    """Return the bytes that autograd saves for a step on so many images, and those of the largest tensor."""
    place = torch.device(device, 0) if device == "cuda" else torch.device(device)
    storages: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        # Holding the storage keeps its address from being used again.
        storages[storage._cdata] = storage
        return tensor

    with FakeTensorMode(allow_non_fake_inputs=True):
        state = {name: _like(tensor, place) for name, tensor in _state(model)}
        own = {tensor.untyped_storage()._cdata for tensor in state.values()}
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with hooks, _autocast(device, dtype), _unsynchronised(model), _FusedAttention():
            loss = functional_call(_Step(model, run), state, (images, place))
        sizes = [storage.nbytes() for key, storage in storages.items() if key not in own]
        del loss
    return _Saved(sum(sizes), max(sizes, default=0))


@contextmanager
def _autocast(device: str, dtype: torch.dtype | None) -> Iterator[None]:
    """Turn autocast on for a device that need not exist; `torch.autocast` would refuse."""
    if dtype is None:
        yield
        return
    before = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    torch.set_autocast_enabled(device, True)
    torch.set_autocast_dtype(device, dtype)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        # The outermost level frees the copies of the weights.
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled(device, before[0])
        torch.set_autocast_dtype(device, before[1])


@contextmanager
def _unsynchronised(model: nn.Module) -> Iterator[None]:
    """Let SyncBN compute as BN does: processes cannot exchange fake tensors, and BN saves as many bytes."""
    layers = [module for module in model.modules() if isinstance(module, nn.SyncBatchNorm)]
    for layer in layers:
        layer.forward = functools.partial(nn.modules.batchnorm._BatchNorm.forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


class _Attention(torch.autograd.Function):
    """What the fused kernels of attention keep: their inputs, their output, and a number for each query."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:-1]).float())
        return output


class _FusedAttention(TorchFunctionMode):
    """Compute attention as a GPU does; on fake tensors torch takes the form that keeps every pair of positions."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        if function is not functional.scaled_dot_product_attention:
            return function(*arguments, **(named or {}))
        given = dict(zip(("query", "key", "value"), arguments, strict=False)) | (named or {})
        return _Attention.apply(given["query"], given["key"], given["value"])


class _Step(nn.Module):
    """A step as a module, whose weights `functional_call` can replace."""

    def __init__(self, network: nn.Module, run: RunStep) -> None:
        super().__init__()
        self.network, self.run = network, run

    def forward(self, images: int, device: torch.device) -> Tensor:
        return self.run(self.network, images, device)


def _state(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        yield f"network.{name}", tensor


def _like(tensor: Tensor, device: torch.device) -> Tensor:
    made = torch.empty_like(tensor, device=device)
    return made.requires_grad_(tensor.requires_grad)
