"""The history of validations."""

from types import SimpleNamespace

import pytest
from mmengine.runner import EpochBasedTrainLoop
from support.runners import bare_runner

from engine.runner.validation import VALIDATION_HISTORY, ValidationHistoryHook


class _EpochLoop(EpochBasedTrainLoop):
    """mmengine's at a given position, without a runner."""

    def __init__(self, epoch, max_epochs, iter, max_iters, val_interval):
        self._epoch, self._max_epochs = epoch, max_epochs
        self._iter, self._max_iters = iter, max_iters
        self.val_begin, self.val_interval = 1, val_interval


DONE = [{"step": 10, "metrics": {"top1": 1.0}}]


def _loops(request, iteration, history, **loop):
    calls = []
    runner = bare_runner(
        request.node.name,
        iter=iteration,
        train_loop=_EpochLoop(**loop),
        val_loop=SimpleNamespace(run=lambda: calls.append("validated")),
    )
    runner.message_hub.update_info(VALIDATION_HISTORY, history)
    ValidationHistoryHook().before_train(runner)
    return calls


@pytest.mark.parametrize(
    ("iteration", "epoch", "history", "expected"),
    [
        (0, 0, [], []),
        # After epoch 2 of 5, validated every 2: the checkpoint is older than its validation.
        (20, 2, DONE, ["validated"]),
        (20, 2, [{"step": 20, "metrics": {}}], []),
        (30, 3, DONE, []),
        # Stopped within the third epoch; the second one was validated.
        (23, 2, DONE, []),
        # The last epoch is validated though 2 does not divide it.
        (50, 5, DONE, ["validated"]),
    ],
)
def test_due_validation_is_made_up(request, iteration, epoch, history, expected):
    loop = dict(epoch=epoch, max_epochs=5, iter=iteration, max_iters=50, val_interval=2)
    assert _loops(request, iteration, history, **loop) == expected


def test_one_epoch_run_counts_epochs(request):
    loop = dict(epoch=1, max_epochs=1, iter=3, max_iters=3, val_interval=1)
    assert _loops(request, 3, [], **loop) == ["validated"]


@pytest.mark.parametrize(
    ("iteration", "expected"), [(8, ["validated"]), (6, []), (9, ["validated"])]
)
def test_iteration_loop_counts_iterations(request, iteration, expected):
    calls = []
    runner = bare_runner(
        request.node.name,
        iter=iteration,
        train_loop=SimpleNamespace(
            epoch=0, max_epochs=1, iter=iteration, max_iters=9, val_begin=1, val_interval=4
        ),
        val_loop=SimpleNamespace(run=lambda: calls.append("validated")),
    )
    ValidationHistoryHook().before_train(runner)
    assert calls == expected


def test_every_validation_is_kept(request):
    hook, runner = ValidationHistoryHook(), bare_runner(request.node.name, iter=4)
    hook.after_val_epoch(runner, {"top1": 1.0})
    first = runner.message_hub.get_info(VALIDATION_HISTORY)
    runner.iter = 8
    hook.after_val_epoch(runner, {"top1": 2.0})
    assert runner.message_hub.get_info(VALIDATION_HISTORY) == [
        {"step": 4, "metrics": {"top1": 1.0}},
        {"step": 8, "metrics": {"top1": 2.0}},
    ]
    assert len(first) == 1
