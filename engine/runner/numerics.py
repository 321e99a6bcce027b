"""How a GPU computes float32 and chooses kernels: TF32, cuDNN's benchmark mode, deterministic algorithms.

By default, torch computes float32 convolutions on Ampere and later GPUs in TF32, with 10 bits of mantissa instead of
23. Here float32 means IEEE float32 everywhere; `--precision tf32` asks for TF32, in training only.

cuDNN's benchmark mode times several algorithms for every new shape and keeps the fastest. It pays where all batches
have one shape, and costs more than it saves where image sizes vary. A task says whether its training batches have one
shape; in evaluation the mode is off. Two processes may choose different algorithms.

All of this concerns GPUs only; on a CPU these settings change no number.
"""

from __future__ import annotations

import dataclasses
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.hooks import Hook

from engine import mmcv_ops
from engine.runner.precision import Precision

NUMERICS = "numerics"
# cuBLAS is deterministic with a workspace of fixed size (https://docs.nvidia.com/cuda/cublas, "Reproducibility").
CUBLAS_WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
_WARNING = re.compile(r"(\S+) does not have a deterministic implementation")


@dataclasses.dataclass(frozen=True)
class Numerics:
    """The settings of one run.

    Attributes:
        tf32: Whether training computes float32 products and convolutions in TF32.
        cudnn_benchmark: Whether cuDNN times its algorithms in training.
        deterministic: Whether torch uses deterministic algorithms where it has them.
    """

    tf32: bool
    cudnn_benchmark: bool
    deterministic: bool

    def __str__(self) -> str:
        tf32, benchmark = (
            "on in training" if on else "off" for on in (self.tf32, self.cudnn_benchmark)
        )
        algorithms = "on" if self.deterministic else "off"
        return f"TF32 {tf32}, cuDNN benchmark {benchmark}, deterministic algorithms {algorithms}"


def choose_numerics(precision: Precision, *, one_shape: bool, deterministic: bool) -> Numerics:
    """Return the settings of a run.

    Args:
        precision: The resolved precision.
        one_shape: Whether all training batches have the same shape.
        deterministic: The option `--deterministic`.
    """
    benchmark = one_shape and precision.device_type == "cuda" and not deterministic
    return Numerics(precision.dtype == "tf32", benchmark, deterministic)


def start(*, deterministic: bool) -> None:
    """Set the process up for evaluation; call this before the first computation on a GPU.

    Args:
        deterministic: Use deterministic algorithms. Ops without one only warn, see `recorded`.
    """
    if deterministic:
        # cuBLAS reads it when its first handle is made. A user's value stays.
        os.environ.setdefault(*CUBLAS_WORKSPACE)
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.deterministic = deterministic
    _apply(tf32=False, cudnn_benchmark=False)


def _apply(*, tf32: bool, cudnn_benchmark: bool) -> None:
    # The switches by operation (`torch.backends.cudnn.conv.fp32_precision`) are newer, but after their use these two
    # cannot be read any more, which torch.export and torch.compile do.
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = cudnn_benchmark


class NumericsHook(Hook):
    """Apply a run's settings while it trains, and those of evaluation at all other times."""

    priority = "VERY_HIGH"

    def __init__(self, numerics: Numerics) -> None:
        self.numerics = numerics

    def _train(self) -> None:
        _apply(tf32=self.numerics.tf32, cudnn_benchmark=self.numerics.cudnn_benchmark)

    def _evaluate(self) -> None:
        _apply(tf32=False, cudnn_benchmark=False)

    def before_train_epoch(self, runner: Any) -> None:
        """Start training; an iteration-based loop calls this once."""
        self._train()

    def before_val(self, runner: Any) -> None:
        """Start a validation."""
        self._evaluate()

    def after_val(self, runner: Any) -> None:
        """Go on with training."""
        self._train()

    def after_train(self, runner: Any) -> None:
        """Leave the process as `start` does, for the tests and costs that follow."""
        self._evaluate()


@contextmanager
def recorded(runner: Any, numerics: Numerics) -> Iterator[None]:
    """Train under the given settings, and keep them in the message hub with the ops that are not deterministic."""
    runner.register_hook(NumericsHook(numerics))
    found = {**dataclasses.asdict(numerics), "nondeterministic": []}
    if not numerics.deterministic:
        yield
    else:
        with _nondeterministic_ops() as names:
            yield
        found["nondeterministic"] = [*names, *_silent_ops()]
    runner.message_hub.update_info(NUMERICS, found)


@contextmanager
def _nondeterministic_ops() -> Iterator[list[str]]:
    """Collect the names of the ops that torch warns about because they have no deterministic implementation."""
    names: list[str] = []
    usual = warnings.showwarning

    def show(message: Warning | str, *arguments: Any, **named: Any) -> None:
        match = _WARNING.match(str(message))
        if match is None:
            usual(message, *arguments, **named)
        elif match[1] not in names:
            names.append(match[1])

    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=_WARNING.pattern)
        warnings.showwarning = show
        yield names


def _silent_ops() -> list[str]:
    """Return what may not be deterministic without a warning: the kernels of a compiled mmcv on a GPU."""
    if torch.cuda.is_available() and mmcv_ops.install() != "torchvision":
        return ["the ops of the compiled mmcv"]
    return []


def notes(found: dict[str, Any]) -> list[str]:
    """Return a note for the result if a run with `--deterministic` used ops that are not."""
    names = found["nondeterministic"]
    if not names:
        return []
    return [
        f"was trained with --deterministic, but torch has no deterministic form of {', '.join(names)}; a repetition "
        "may give slightly different numbers"
    ]
