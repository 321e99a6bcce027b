"""Steps in micro-batches against the same steps on the whole batch."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import nn

from engine.runner.accumulation import MicroBatchHook, describe_batch, wire_accumulation


class Model(BaseModel):
    """A line through the data; its loss is a mean over images, as detectors' and segmentors' are."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(3, 1, dtype=torch.float64)
        self.sizes, self.silent = [], 0

    def no_sync(self):
        self.silent += 1
        return torch.enable_grad()

    def forward(self, inputs, data_samples, mode):
        self.sizes.append(len(inputs))
        error = self.line(torch.stack(inputs)).squeeze(1) - torch.tensor(data_samples)
        return {"loss_square": error.square().mean()}


def _trained(size, steps=3):
    torch.manual_seed(4)
    model = Model()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    if size is not None:
        MicroBatchHook(size).before_train(SimpleNamespace(model=model))
    logs = []
    for _ in range(steps):
        data = {
            "inputs": list(torch.randn(5, 3, dtype=torch.float64)),
            "data_samples": torch.randn(5, dtype=torch.float64).tolist(),
        }
        logs.append(model.train_step(data, optim_wrapper=wrapper))
    return model, logs


def test_micro_batches_match_whole_batch():
    whole, expected = _trained(None)
    parts, logs = _trained(2)
    assert whole.sizes == [5] * 3
    assert parts.sizes == [2, 2, 1] * 3
    torch.testing.assert_close(parts.line.weight, whole.line.weight, rtol=1e-12, atol=0)
    for found, wanted in zip(logs, expected, strict=True):
        assert found.keys() == wanted.keys() == {"loss", "loss_square"}
        torch.testing.assert_close(found["loss"], wanted["loss"], rtol=1e-12, atol=0)
    # Several processes would exchange gradients once a step.
    assert parts.silent == 6


@pytest.mark.parametrize(
    ("size", "processes", "enable", "loaded", "words"),
    [
        (2, 8, True, 2, "16 images a step (8 processes x 2), learning rate the config's"),
        (2, 1, True, 16, "16 images a step (8 micro-batches x 2), learning rate the config's"),
        (
            2,
            3,
            True,
            4,
            "12 images a step (3 processes x 2 micro-batches x 2), learning rate 0.75 of the config's",
        ),
        (16, 1, True, 16, "16 images a step, learning rate the config's"),
        (32, 1, True, 32, "32 images a step, learning rate 2 of the config's"),
        (2, 1, False, 2, "2 images a step, learning rate the config's"),
    ],
)
def test_published_batch_is_kept_and_reported(size, processes, enable, loaded, words):
    config = Config(
        dict(
            train_dataloader=dict(batch_size=size),
            auto_scale_lr=dict(enable=enable, base_batch_size=16),
        )
    )
    wire_accumulation(config, processes)
    assert config.train_dataloader.batch_size == loaded
    assert describe_batch(config, processes) == words


@pytest.mark.parametrize(
    ("size", "factor", "rate"),
    [
        (16, 3.0, "3 of the config's (--lr-factor 3)"),
        (16, 0.3, "0.3 of the config's (--lr-factor 0.3)"),
        # The rule on the batch and the factor multiply; where they cancel, the factor is reported all the same.
        (8, 3.0, "1.5 of the config's (--lr-factor 3)"),
        (8, 2.0, "the config's (--lr-factor 2)"),
        (16, 1.0, "the config's"),
    ],
)
def test_lr_factor_is_reported(size, factor, rate):
    config = Config(
        dict(
            train_dataloader=dict(batch_size=size),
            auto_scale_lr=dict(enable=True, base_batch_size=16),
        )
    )
    assert describe_batch(config, 1, factor) == f"{size} images a step, learning rate {rate}"
