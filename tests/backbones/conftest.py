"""Fixtures of the networks: one thread, one seed, and distinct running statistics."""

import pytest
import torch
from torch import nn


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def randomise_statistics():
    """Move the running statistics off 0 and 1, so that a mixed-up normalisation shows."""

    def randomise(network):
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        return network.eval()

    return randomise


@pytest.fixture
def assert_agree():
    """Compare maps within the rounding of sums in another order."""

    def compare(ours, theirs):
        for our, their in zip(ours, theirs, strict=True):
            assert our.shape == their.shape
            assert (our - their).abs().max() <= 1e-5 * their.abs().max()

    return compare
