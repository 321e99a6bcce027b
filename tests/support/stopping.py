"""Send this process a signal at a chosen point of its training."""

import os
import signal
from contextlib import contextmanager

import pytest

from contract.command_line import STOPPED
from engine.runner.loss_guard import NonFiniteLossHook
from engine.runner.validation import ValidationHistoryHook


@contextmanager
def signalled(iteration, number=signal.SIGUSR1, *, in_validation=False, times=1):
    """Send a signal in the iteration, counted from 1, or before the end of the validation after it."""
    hook, method = NonFiniteLossHook, "after_train_iter"
    if in_validation:
        hook, method = ValidationHistoryHook, "after_val_epoch"
    original = getattr(hook, method)

    def send(self, runner, *arguments, **named):
        if runner.iter + (not in_validation) == iteration:
            for _ in range(times):
                os.kill(os.getpid(), number)
        return original(self, runner, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hook, method, send)
        yield


def stopped_run(run, iteration, *, resume=True, capsys, **how):
    """Run a task that gets a signal, and return what it printed.

    Args:
        run: Starts the task with further options and returns its exit status.
        iteration: See `signalled`.
        resume: Whether to resume an earlier one.
        capsys: pytest's.
        how: Arguments of `signalled`.
    """
    capsys.readouterr()
    with signalled(iteration, **how):
        assert run(*(["--resume"] if resume else [])) == STOPPED
    return capsys.readouterr().err.splitlines()[-1]
