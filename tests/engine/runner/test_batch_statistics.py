"""Batch statistics in runs of a few iterations."""

from types import SimpleNamespace

import torch

from engine.runner.batch_statistics import CumulativeStatisticsHook


def test_cumulative_statistics_are_batch_means():
    norm = torch.nn.BatchNorm2d(2)
    CumulativeStatisticsHook().before_train(SimpleNamespace(model=torch.nn.Sequential(norm)))
    batches = [torch.randn(8, 2, 4, 4) * 5 + 3 for _ in range(2)]
    for batch in batches:
        norm(batch)
    mean = torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)
    var = torch.stack([b.var((0, 2, 3)) for b in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, var)
