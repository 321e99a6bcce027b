"""Measure a network in the middle of its training without changing what the training computes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def preserve_state(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode; on exit, restore the mode of every module and the state of every generator.

    The generators are Python's, numpy's and torch's global ones.
    """
    modes = {module: module.training for module in network.modules()}
    python, array = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    network.eval()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
        for module, training in modes.items():
            module.training = training
