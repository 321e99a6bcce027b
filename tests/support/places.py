"""Where a test of GPUs runs: on a GPU, with the marker `gpu`, or without one."""

import contextlib

import pytest
import torch

from support.pretend_cuda import pretend_cuda
from support.runners import forget_runs


def on(place, *values):
    """Return a test's parameters: a place, `'cpu'`, `'pretended'` or `'cuda'`, and further values."""
    return pytest.param(place, *values, marks=[pytest.mark.gpu] if place == "cuda" else [])


@contextlib.contextmanager
def placed(place):
    """Make `cuda` available as the place says; yields torch's name of the device."""
    forget_runs()
    pretence = pretend_cuda() if place == "pretended" else contextlib.nullcontext()
    before = torch.backends.cudnn.allow_tf32
    # Convolutions in float32 use TF32 otherwise.
    torch.backends.cudnn.allow_tf32 = False
    try:
        with pretence:
            yield "cpu" if place == "cpu" else "cuda"
    finally:
        torch.backends.cudnn.allow_tf32 = before


def require(place, precision):
    """Skip a precision that a GPU does not have."""
    if place == "cuda" and precision == "bf16" and torch.cuda.get_device_capability()[0] < 8:
        pytest.skip(f"{torch.cuda.get_device_name()} has no bfloat16 units")
