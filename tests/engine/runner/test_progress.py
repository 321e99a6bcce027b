"""Progress for the harness and for a person."""

import json
from types import SimpleNamespace

from support.runners import bare_runner

from engine.runner.progress import ProgressHook
from engine.runner.validation import ValidationHistoryHook


def _progress(request, monkeypatch, capsys, interval, start=0, machine=True):
    monkeypatch.setenv("TRICKBENCH_PROGRESS", "1" if machine else "0")
    clock = iter(range(1000, 2000))
    monkeypatch.setattr("engine.runner.progress.time.monotonic", lambda: float(next(clock)))
    hook = ProgressHook("cls", batch_size=32, interval_seconds=interval)
    runner = bare_runner(request.node.name, iter=start)
    hook.before_train(runner)
    for iteration in range(start, 10):
        runner.iter, runner.epoch = iteration, iteration // 5
        hook.after_train_iter(runner, iteration, outputs={"loss": 1.0 / (iteration + 1)})
    hook.after_train(runner)
    return capsys.readouterr().out.splitlines()


def test_validation_shows_best_so_far(request, monkeypatch, capsys):
    monkeypatch.setenv("TRICKBENCH_PROGRESS", "1")
    test = SimpleNamespace(metainfo={"classes": ("a", "b")}, images_used=20)
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=test))
    runner = bare_runner(request.node.name, epoch=6, max_epochs=120, val_loop=loop)
    history, progress = ValidationHistoryHook(), ProgressHook("cls", batch_size=32)
    for top1 in (30.0, 42.0, 35.0):
        for hook in (history, progress):
            hook.after_val_epoch(runner, {"top1": top1})
    last = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(last.removeprefix("@progress ")) == {
        "stage": "cls",
        "epoch": 6,
        "epochs": 120,
        "best": {"top1": 42.0},
        "classes": 2,
        "test_images": 20,
    }


def test_progress_as_json(request, monkeypatch, capsys):
    lines = _progress(request, monkeypatch, capsys, interval=0)
    assert len(lines) == 10
    assert all(line.startswith("@progress ") for line in lines)
    # The clock goes on by a second an iteration.
    assert json.loads(lines[3].removeprefix("@progress ")) == {
        "stage": "cls",
        "step": 4,
        "steps": 10,
        "epoch": 1,
        "epochs": 2,
        "eta_seconds": 6.0,
        "loss": 0.25,
        "images_per_second": 32.0,
    }
    last = json.loads(lines[-1].removeprefix("@progress "))
    assert (last["step"], last["epoch"], last["eta_seconds"]) == (10, 2, 0.0)


def test_rate_excludes_work_before_resume(request, monkeypatch, capsys):
    lines = _progress(request, monkeypatch, capsys, interval=0, start=6)
    first = json.loads(lines[0].removeprefix("@progress "))
    assert (first["step"], first["images_per_second"], first["eta_seconds"]) == (7, 32.0, 3.0)


def test_progress_is_throttled(request, monkeypatch, capsys):
    lines = _progress(request, monkeypatch, capsys, interval=4)
    assert [json.loads(line.split(" ", 1)[1])["step"] for line in lines] == [1, 5, 9, 10]


def test_silent_without_terminal_or_harness(request, monkeypatch, capsys):
    assert _progress(request, monkeypatch, capsys, interval=0, machine=False) == []
