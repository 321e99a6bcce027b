"""The clock of phases is told of training and validations."""

from contract.timing import PhaseClock
from engine.runner.timing import PhaseHook


def test_validations_are_no_training(monkeypatch):
    clock = PhaseClock()
    monkeypatch.setattr("engine.runner.timing.CLOCK", clock)
    hook, runner = PhaseHook(), object()
    seen = [clock._open[-1]]
    for step in (hook.before_train, hook.before_val, hook.after_val, hook.after_train):
        step(runner)
        seen.append(clock._open[-1])
    assert seen == ["preparing", "training", "validation", "training", "preparing"]
