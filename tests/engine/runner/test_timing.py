"""The time that a run takes."""

from support.runners import bare_runner

from engine.runner.checkpoint import ELAPSED, PositionCheckpointHook
from engine.runner.timing import CpuTimeHook


def test_elapsed_time_continues_from_checkpoint(request, monkeypatch):
    clock = iter([100.0, 107.0, 109.0])
    monkeypatch.setattr("engine.runner.checkpoint.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("mmengine.hooks.CheckpointHook.before_train", lambda *_: None)
    runner = bare_runner(request.node.name)
    runner.message_hub.update_info(ELAPSED, 50.0)
    hook = PositionCheckpointHook(interval=1)
    hook.before_train(runner)
    checkpoint = {"message_hub": {"runtime_info": {}}}
    hook.before_save_checkpoint(runner, checkpoint)
    assert checkpoint["message_hub"]["runtime_info"][ELAPSED] == 57.0
    hook.after_train(runner)
    assert runner.message_hub.get_info(ELAPSED) == 59.0


def test_logs_cpu_time_of_this_process(request, monkeypatch):
    clock = iter([10.0, 10.5, 12.0])
    monkeypatch.setattr("engine.runner.timing.time.process_time", lambda: next(clock))
    runner, hook = bare_runner(request.node.name), CpuTimeHook()
    hook.before_train_epoch(runner)
    hook.after_train_iter(runner, 0)
    hook.after_train_iter(runner, 1)
    assert list(runner.message_hub.get_scalar("train/cpu_time").data[0]) == [0.5, 1.5]
