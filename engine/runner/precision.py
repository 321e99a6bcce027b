"""The floating-point format of a training, and why it was chosen.

Forward and loss run under autocast; weights, gradients and the optimiser's state stay in float32 (the "master
copy" of paper §3.2). float16 needs loss scaling; bfloat16 has float32's exponent range and does not need it.
TF32 needs no autocast: tensors are float32, and the GPU rounds the factors of its products (`engine.runner.numerics`).
Evaluation runs in IEEE float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from contract.errors import UserError, unknown
from contract.settings import PRECISIONS


@dataclass(frozen=True)
class Precision:
    """A choice and its reason.

    Attributes:
        dtype: What products are computed in: `'float32'`, `'tf32'`, `'bfloat16'` or `'float16'`.
        device_type: `'cpu'` or `'cuda'`.
        reason: Why it was chosen, as one clause.
    """

    dtype: str
    device_type: str
    reason: str

    @property
    def mixed(self) -> bool:
        """Whether autocast is on."""
        return self.dtype in ("bfloat16", "float16")

    def optim_wrapper(self) -> dict[str, Any]:
        """Return the config of mmengine's optimiser wrapper for this precision."""
        if self.dtype == "float16":
            return dict(type="AmpOptimWrapper", dtype="float16", loss_scale="dynamic")
        if self.dtype == "bfloat16":
            return dict(type="AutocastOptimWrapper", dtype="bfloat16", device_type=self.device_type)
        return dict(type="OptimWrapper")

    def __str__(self) -> str:
        return f"{self.dtype} on {self.device_type}: {self.reason}"


def choose_precision(requested: str, device_type: str) -> Precision:
    """Resolve `auto` for a device of this machine, or check that the device supports the requested precision.

    Args:
        requested: One of `PRECISIONS`.
        device_type: `'cpu'` or `'cuda'`.

    Raises:
        UserError: The precision is unknown, or the device has no kernels for it.
    """
    if requested not in PRECISIONS:
        raise unknown("precision", requested, PRECISIONS)
    if requested == "auto":
        return _automatic(device_type)
    if requested == "fp32":
        return Precision("float32", device_type, "asked for")
    if requested == "tf32":
        return _tf32(device_type)
    if requested == "fp16" and device_type == "cpu":
        raise UserError(
            "precision fp16 was asked for on a CPU, where torch has no float16 training kernels; "
            "use --precision bf16 or auto"
        )
    if requested == "bf16" and device_type == "cuda" and torch.cuda.get_device_capability()[0] < 8:
        raise UserError(
            "precision bf16 was asked for on a GPU of compute capability below 8.0, where torch emulates bfloat16 "
            "slowly; use --precision fp16 or auto"
        )
    return Precision("float16" if requested == "fp16" else "bfloat16", device_type, "asked for")


def _tf32(device_type: str) -> Precision:
    device = "a CPU"
    if device_type == "cuda" and torch.version.hip is not None:
        device = "an AMD GPU"
    elif device_type == "cuda":
        major, minor = torch.cuda.get_device_capability()
        if major >= 8:
            return Precision("tf32", "cuda", "asked for")
        device = f"a GPU of compute capability {major}.{minor}"
    raise UserError(
        f"precision tf32 was asked for on {device}, and only NVIDIA GPUs of compute capability 8.0 (Ampere) or later "
        "have TF32; use --precision fp32 or auto"
    )


_GPU_REASONS = {
    "bfloat16": "this GPU computes bfloat16 in hardware",
    "float16": "this GPU has no bfloat16 units; the loss is scaled",
    "float32": "this GPU has no tensor cores, so float16 would hardly be faster",
}


def automatic_dtype(capability: tuple[int, int]) -> str:
    """Return the dtype that `auto` takes on a GPU: tensor cores came with 7.0 (Volta), bfloat16 with 8.0 (Ampere)."""
    major = capability[0]
    return "bfloat16" if major >= 8 else "float16" if major == 7 else "float32"


def _automatic(device_type: str) -> Precision:
    if device_type == "cuda":
        dtype = automatic_dtype(torch.cuda.get_device_capability())
        return Precision(dtype, "cuda", _GPU_REASONS[dtype])
    capabilities = cpu_capabilities()
    for flag, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512")):
        if capabilities.get(flag):
            return Precision("bfloat16", "cpu", f"this CPU computes bfloat16 in hardware ({name})")
    return Precision(
        "float32", "cpu", "this CPU has no bfloat16 units, and emulating them is slower"
    )


def cpu_capabilities() -> dict[str, Any]:
    """Return the CPU's instruction sets as torch detects them; empty if torch cannot detect them."""
    query = getattr(torch.cpu, "get_capabilities", None)
    if query is not None:
        return query()
    # torch before 2.11.
    return {
        "amx_bf16": torch.cpu._is_amx_tile_supported(),
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
    }


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """mmengine's optimiser wrapper under autocast without loss scaling.

    `AmpOptimWrapper` refuses a CPU and always carries a scaler, which bfloat16 does not need.

    Args:
        dtype: Name of a torch dtype.
        device_type: `'cpu'` or `'cuda'`.
        optimizer: The wrapped optimiser.
        accumulative_counts: Number of batches whose gradients are accumulated before a step.
        clip_grad: Keyword arguments of mmengine's gradient clipping.
    """

    def __init__(
        self,
        dtype: str,
        device_type: str,
        optimizer: torch.optim.Optimizer,
        accumulative_counts: int = 1,
        clip_grad: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(optimizer, accumulative_counts, clip_grad)
        self.dtype = getattr(torch, dtype)
        self.device_type = device_type

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass and the loss under autocast."""
        with super().optim_context(model), torch.autocast(self.device_type, dtype=self.dtype):
            yield
