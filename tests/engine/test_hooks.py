"""The hooks of every stage, on a runner of a few attributes."""

import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub

from backbones import CheckpointError, LoadReceipt
from contract.errors import UserError
from engine.runner.batch_statistics import CumulativeStatisticsHook
from engine.runner.load_report import LoadReportHook
from engine.runner.loss_guard import NonFiniteLossHook
from engine.runner.progress import ProgressHook
from engine.runner.timing import ELAPSED, CpuTimeHook, TimedCheckpointHook
from engine.runner.validation import VALIDATION_HISTORY, ValidationHistoryHook


def _runner(request, **attributes):
    runner = SimpleNamespace(
        message_hub=MessageHub(request.node.name), iter=0, epoch=0, max_iters=10, max_epochs=2
    )
    runner.__dict__.update(attributes)
    return runner


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_no_number_stops_with_all_that_is_known(request, value):
    wrapper = SimpleNamespace(get_lr=lambda: {"lr": [0.4]})
    runner = _runner(request, iter=6, epoch=1, optim_wrapper=wrapper)
    runner.message_hub.update_scalar("train/loss", torch.tensor(value))
    outputs = {"loss": torch.tensor(value), "loss_rpn": torch.tensor(0.5)}
    with pytest.raises(UserError) as told:
        NonFiniteLossHook().after_train_iter(runner, 6, outputs=outputs)
    assert str(told.value) == (
        f"the loss became {value} in epoch 2, iteration 7 (terms {{'loss': {value}, "
        "'loss_rpn': 0.5}, learning rate 0.4); lower the learning rate, lengthen the warm-up, or "
        "look at the data with `python -m benchmarks data verify`"
    )


def test_a_finite_loss_goes_on(request):
    runner = _runner(request)
    runner.message_hub.update_scalar("train/loss", 3.0e30)
    NonFiniteLossHook().after_train_iter(runner, 0)


class _Model:
    def __init__(self, matches=True):
        self.backbone = self
        self.matches = matches

    def verify(self, checkpoint):
        if not self.matches:
            raise CheckpointError("1 of 2 tensors differ")
        return LoadReceipt(sha256="ab" + checkpoint, matched=2, total=2)


def test_the_receipt_is_kept_where_checkpoints_carry_it(request):
    said = []
    logger = SimpleNamespace(info=said.append)
    # As under distributed data parallel.
    runner = _runner(request, model=SimpleNamespace(module=_Model()), logger=logger)
    LoadReportHook("f").before_train(runner)
    kept = runner.message_hub.state_dict()["runtime_info"][RECEIPT]
    assert kept == {"sha256": "abf", "matched": 2, "total": 2, "feature_error": None}
    assert said == ["backbone: 2 of 2 tensors equal f"]


def test_weights_that_did_not_arrive_stop_the_run(request):
    runner = _runner(request, model=_Model(matches=False))
    with pytest.raises(CheckpointError, match="differ"):
        LoadReportHook("f").before_train(runner)


def test_a_resumed_run_has_moved_away_from_the_file(request):
    LoadReportHook("f").before_train(_runner(request, model=_Model(matches=False), iter=5))


class EpochBasedTrainLoop(SimpleNamespace):
    """Named as mmengine's."""


def _loops(request, iteration, history, **loop):
    calls = []
    runner = _runner(
        request,
        iter=iteration,
        train_loop=EpochBasedTrainLoop(**loop),
        val_loop=SimpleNamespace(run=lambda: calls.append("validated")),
    )
    runner.message_hub.update_info(VALIDATION_HISTORY, history)
    ValidationHistoryHook().before_train(runner)
    return calls


DONE = [{"step": 10, "metrics": {"top1": 1.0}}]


@pytest.mark.parametrize(
    ("iteration", "epoch", "history", "expected"),
    [
        (0, 0, [], []),
        # After epoch 2 of 5, validated every 2: the checkpoint is older than its validation.
        (20, 2, DONE, ["validated"]),
        (20, 2, [{"step": 20, "metrics": {}}], []),
        (30, 3, DONE, []),
        # The last epoch is validated though 2 does not divide it.
        (50, 5, DONE, ["validated"]),
    ],
)
def test_a_validation_that_is_owed_is_made_up(request, iteration, epoch, history, expected):
    loop = dict(epoch=epoch, max_epochs=5, iter=iteration, max_iters=50, val_interval=2)
    assert _loops(request, iteration, history, **loop) == expected


def test_a_run_of_one_epoch_counts_epochs_too(request):
    loop = dict(epoch=1, max_epochs=1, iter=3, max_iters=3, val_interval=1)
    assert _loops(request, 3, [], **loop) == ["validated"]


@pytest.mark.parametrize(
    ("iteration", "expected"), [(8, ["validated"]), (6, []), (9, ["validated"])]
)
def test_an_iteration_based_loop_counts_iterations(request, iteration, expected):
    calls = []
    runner = _runner(
        request,
        iter=iteration,
        train_loop=SimpleNamespace(
            epoch=0, max_epochs=1, iter=iteration, max_iters=9, val_interval=4
        ),
        val_loop=SimpleNamespace(run=lambda: calls.append("validated")),
    )
    ValidationHistoryHook().before_train(runner)
    assert calls == expected


def test_every_validation_is_kept(request):
    hook, runner = ValidationHistoryHook(), _runner(request, iter=4)
    hook.after_val_epoch(runner, {"top1": 1.0})
    first = runner.message_hub.get_info(VALIDATION_HISTORY)
    runner.iter = 8
    hook.after_val_epoch(runner, {"top1": 2.0})
    assert runner.message_hub.get_info(VALIDATION_HISTORY) == [
        {"step": 4, "metrics": {"top1": 1.0}},
        {"step": 8, "metrics": {"top1": 2.0}},
    ]
    assert len(first) == 1


def _progress(request, monkeypatch, capsys, interval, start=0, machine=True):
    monkeypatch.setenv("TRICKBENCH_PROGRESS", "1" if machine else "0")
    clock = iter(range(1000, 2000))
    monkeypatch.setattr("engine.hooks.time.monotonic", lambda: float(next(clock)))
    hook = ProgressHook("cls", batch_size=32, interval_seconds=interval)
    runner = _runner(request, iter=start)
    hook.before_train(runner)
    for iteration in range(start, 10):
        runner.iter, runner.epoch = iteration, iteration // 5
        runner.message_hub.update_scalar("train/loss", 1.0 / (iteration + 1))
        hook.after_train_iter(runner, iteration)
    hook.after_train(runner)
    return capsys.readouterr().out.splitlines()


def test_a_validation_is_told_with_the_best_so_far(request, monkeypatch, capsys):
    monkeypatch.setenv("TRICKBENCH_PROGRESS", "1")
    test = SimpleNamespace(metainfo={"classes": ("a", "b")}, images_used=20)
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=test))
    runner = _runner(request, epoch=6, max_epochs=120, val_loop=loop)
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


def test_progress_is_told_as_json(request, monkeypatch, capsys):
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


def test_a_resumed_run_s_rate_leaves_out_what_was_done_before(request, monkeypatch, capsys):
    lines = _progress(request, monkeypatch, capsys, interval=0, start=6)
    first = json.loads(lines[0].removeprefix("@progress "))
    assert (first["step"], first["images_per_second"], first["eta_seconds"]) == (7, 32.0, 3.0)


def test_progress_is_told_at_most_once_an_interval_and_at_the_end(request, monkeypatch, capsys):
    lines = _progress(request, monkeypatch, capsys, interval=4)
    assert [json.loads(line.split(" ", 1)[1])["step"] for line in lines] == [1, 5, 9, 10]


def test_without_a_terminal_or_the_harness_nothing_is_told(request, monkeypatch, capsys):
    assert _progress(request, monkeypatch, capsys, interval=0, machine=False) == []


def test_the_time_used_goes_on_where_the_checkpoint_left_it(request, monkeypatch):
    clock = iter([100.0, 107.0, 109.0])
    monkeypatch.setattr("engine.hooks.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("mmengine.hooks.CheckpointHook.before_train", lambda *_: None)
    monkeypatch.setattr("mmengine.hooks.CheckpointHook.after_train", lambda *_: None)
    runner = _runner(request)
    runner.message_hub.update_info(ELAPSED, 50.0)
    hook = TimedCheckpointHook(interval=1)
    hook.before_train(runner)
    checkpoint = {"message_hub": {"runtime_info": {}}}
    hook.before_save_checkpoint(runner, checkpoint)
    assert checkpoint["message_hub"]["runtime_info"][ELAPSED] == 57.0
    hook.after_train(runner)
    assert runner.message_hub.get_info(ELAPSED) == 59.0


def test_cumulative_statistics_are_the_mean_over_the_batches():
    norm = torch.nn.BatchNorm2d(2)
    CumulativeStatisticsHook().before_train(SimpleNamespace(model=torch.nn.Sequential(norm)))
    batches = [torch.randn(8, 2, 4, 4) * 5 + 3 for _ in range(2)]
    for batch in batches:
        norm(batch)
    mean = torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)
    var = torch.stack([b.var((0, 2, 3)) for b in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, var)


def test_only_this_process_own_cpu_time_is_logged(request, monkeypatch):
    clock = iter([10.0, 10.5, 12.0])
    monkeypatch.setattr("engine.hooks.time.process_time", lambda: next(clock))
    runner, hook = _runner(request), CpuTimeHook()
    hook.before_train_epoch(runner)
    hook.after_train_iter(runner, 0)
    hook.after_train_iter(runner, 1)
    assert list(runner.message_hub.get_scalar("train/cpu_time").data[0]) == [0.5, 1.5]
