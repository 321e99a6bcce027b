"""A measurement within a training leaves no trace, also after an error."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from engine.measure.preserve_state import preserve_state


def test_restores_modes_and_random_states():
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(3))
    model.train()
    model[1].eval()
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(3)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(3)
    with pytest.raises(ZeroDivisionError), preserve_state(model):
        assert not any(module.training for module in model.modules())
        random.random(), np.random.rand(), torch.rand(5)
        raise ZeroDivisionError
    assert [module.training for module in model.modules()] == [True, True, False]
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
