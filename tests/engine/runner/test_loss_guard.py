"""The guard against non-finite losses."""

from types import SimpleNamespace

import pytest
import torch
from support.runners import bare_runner

from contract.errors import UserError
from engine.runner.loss_guard import NonFiniteLossHook


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_loss_stops_with_details(request, value):
    wrapper = SimpleNamespace(get_lr=lambda: {"lr": [0.4]})
    runner = bare_runner(request.node.name, iter=6, epoch=1, optim_wrapper=wrapper)
    runner.message_hub.update_scalar("train/loss", torch.tensor(value))
    outputs = {"loss": torch.tensor(value), "loss_rpn": torch.tensor(0.5)}
    with pytest.raises(UserError) as caught:
        NonFiniteLossHook().after_train_iter(runner, 6, outputs=outputs)
    assert str(caught.value) == (
        f"the loss became {value} in epoch 2, iteration 7 (terms {{'loss': {value}, "
        "'loss_rpn': 0.5}, learning rate 0.4); lower the learning rate, lengthen the warm-up, or "
        "look at the data with `python -m benchmarks data verify`"
    )


def test_finite_loss_continues(request):
    runner = bare_runner(request.node.name)
    runner.message_hub.update_scalar("train/loss", 3.0e30)
    NonFiniteLossHook().after_train_iter(runner, 0)
