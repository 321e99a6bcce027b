"""The guard against non-finite losses."""

from types import SimpleNamespace

import pytest
import torch
from support.runners import bare_runner

from contract.errors import UserError
from engine.runner.loss_guard import NonFiniteLossHook


def _runner(name, **attributes):
    wrapper = SimpleNamespace(get_lr=lambda: {"lr": [0.4]})
    return bare_runner(
        name, optim_wrapper=wrapper, train_dataloader=range(100), max_iters=100, **attributes
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_loss_stops_with_details(request, value):
    runner = _runner(request.node.name, iter=6, epoch=1)
    outputs = {"loss": torch.tensor(value), "loss_rpn": torch.tensor(0.5)}
    with pytest.raises(UserError) as caught:
        NonFiniteLossHook().after_train_iter(runner, 6, outputs=outputs)
    assert str(caught.value) == (
        f"the loss became {value} in epoch 2, iteration 7 (terms {{'loss': {value}, "
        "'loss_rpn': 0.5}, learning rate 0.4); lower the learning rate, lengthen the warm-up, or "
        "look at the data with `python -m benchmarks data verify`"
    )


def _train(runner, hook, losses):
    for runner.iter, loss in enumerate(losses):
        hook.after_train_iter(runner, runner.iter, outputs={"loss": torch.tensor(loss)})


def test_finite_loss_continues(request):
    runner = _runner(request.node.name)
    _train(runner, NonFiniteLossHook(), [3.0e30])
    assert runner.message_hub.get_scalar("train/loss").current() == pytest.approx(3.0e30)


def test_losses_are_read_together_before_the_log(request, monkeypatch):
    transfers = []
    stack = torch.stack
    monkeypatch.setattr(
        torch, "stack", lambda tensors: transfers.append(len(tensors)) or stack(tensors)
    )
    monkeypatch.setattr(torch.Tensor, "item", lambda self: pytest.fail("a loss was read alone"))
    monkeypatch.setattr(
        torch.Tensor, "__float__", lambda self: pytest.fail("a loss was read alone")
    )
    runner = _runner(request.node.name)
    _train(runner, NonFiniteLossHook(interval=5), [0.5 * step for step in range(12)])
    assert transfers == [5, 5]
    values = runner.message_hub.get_scalar("train/loss").data[0]
    assert list(values) == [0.5 * step for step in range(10)]


def test_bad_iteration_is_named_at_most_an_interval_later(request):
    runner = _runner(request.node.name)
    losses = [1.0, 2.0, float("nan"), 4.0, 5.0, 6.0]
    with pytest.raises(UserError, match=r"became nan in epoch 1, iteration 3 \(") as caught:
        _train(runner, NonFiniteLossHook(interval=5), losses)
    assert runner.iter == 4 and "'loss': nan" in str(caught.value)


def test_checkpoint_contains_losses_that_were_not_read_yet(request):
    runner, hook = _runner(request.node.name), NonFiniteLossHook(interval=50)
    _train(runner, hook, [1.0, 2.0, 3.0])
    checkpoint = {"message_hub": runner.message_hub.state_dict()}
    assert "train/loss" not in checkpoint["message_hub"]["log_scalars"]
    hook.before_save_checkpoint(runner, checkpoint)
    assert list(checkpoint["message_hub"]["log_scalars"]["train/loss"].data[0]) == [1, 2, 3]
    assert checkpoint["message_hub"]["resumed_keys"]["train/loss"]


@pytest.mark.parametrize("moment", ["before_val", "before_save_checkpoint"])
def test_bad_network_is_neither_saved_nor_validated(request, moment):
    runner, hook = _runner(request.node.name), NonFiniteLossHook(interval=50)
    _train(runner, hook, [1.0, float("inf")])
    with pytest.raises(UserError, match="iteration 2 "):
        getattr(hook, moment)(runner, *([{}] if moment == "before_save_checkpoint" else []))
