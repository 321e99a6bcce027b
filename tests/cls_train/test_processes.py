"""Two processes train one classifier: they agree on statistics, export what they tested, and resume exactly."""

import os
import signal
import warnings
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from support.classification import write_images
from support.processes import fork_ranks, run_ranks

import backbones
from cls_train.assemble import assemble
from cls_train.train import Classification
from engine import task as engine_task
from engine.cli import Options
from engine.runner import stop
from engine.runner.accumulation import DeviceBatchHook
from engine.runner.batch_statistics import CumulativeStatisticsHook
from engine.runner.seeding import SeededSampler
from engine.runner.validation import VALIDATION_HISTORY

PROCESSES, BATCH = 2, 8
MOMENTUM = 0.1  # torch's, of running statistics
# Augmentation is on as well.
OPTIONS = {"tricks": ("ema", "mixup"), "lr": 0.2}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    write_images(root / "train", 16)
    write_images(root / "val", 30)
    return root


class Recording(Classification):
    """Keeps what a process has at the end of its run."""

    def further_metrics(self, runner):
        averaged = [hook.ema_model for hook in runner.hooks if hasattr(hook, "ema_model")]
        self.found = {
            "model": _copy(getattr(runner.model, "module", runner.model)),
            "average": _copy(averaged[0].module) if averaged else {},
            "history": runner.message_hub.runtime_info[VALIDATION_HISTORY],
        }
        return []


class Signal(Hook):
    """Send one of the processes a signal in an iteration."""

    def __init__(self, iteration, rank):
        self.iteration, self.rank = iteration, rank

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if (runner.iter + 1, runner.rank) == (self.iteration, self.rank):
            os.kill(os.getpid(), signal.SIGUSR1)


class Kill(Hook):
    """Kill the process after an iteration."""

    priority = "LOWEST"

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            os.kill(os.getpid(), signal.SIGKILL)


def _copy(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def _train(data, config, folder, *, tricks=(), resume=False, hooks=(), one_epoch=None, **set_):
    warnings.simplefilter("ignore")
    task = Recording()
    options = Options(
        config=str(config), data=data, work_dir=folder, backbone="resnet10_b-w8", precision="fp32",
        tricks=tricks, resume=resume, overrides=set_,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        # Costs are not what is tested.
        measured = SimpleNamespace(figures=[], inference={"precision": "float32"})
        patch.setattr(engine_task, "measure", lambda *_, **__: measured)
        patch.setattr(engine_task, "write_result", lambda *_: None)
        patch.setattr(
            engine_task, "apply_multipliers", lambda r: [r.register_hook(hook) for hook in hooks]
        )
        if one_epoch is not None:
            patch.setattr(SeededSampler, "_one_epoch", one_epoch)
        engine_task.run(task, options)
    return task.found


def _pair(*arguments, **options):
    """Train in two processes; return what each of them has at the end."""
    return run_ranks(_call, arguments, options, processes=PROCESSES)


def _call(arguments, options):
    return _train(*arguments, **options)


def _call_until_stopped(arguments, options):
    """Return what a process prints when it is stopped."""
    with pytest.raises(stop.Stopped) as raised, stop.caught_signals():
        _train(*arguments, **options)
    return str(raised.value)


def _equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture(scope="module")
def pair(images, tiny_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return folder, _pair(images, tiny_config, folder, **OPTIONS)


def test_statistics_are_equal_in_both_processes(pair):
    first, second = pair[1]
    assert any("running_var" in name for name in first["model"])
    assert _equal(first["model"], second["model"]) and _equal(first["average"], second["average"])
    assert not _equal(first["model"], first["average"])
    assert first["history"] == second["history"]


def test_tested_network_is_the_exported_one(pair, images, tiny_config):
    """Oracle: one process tests the file on all images."""
    folder, (first, _) = pair
    model = backbones.create("resnet10_b-w8")
    backbones.load_checkpoint(model, folder / "backbone.safetensors", spec="resnet10_b-w8")
    head = backbones.load_head(folder / "backbone.safetensors")
    options = Options(
        config=str(tiny_config), data=images, work_dir=folder, backbone="resnet10_b-w8"
    )
    config = assemble(SimpleNamespace(options=options, spec="resnet10_b-w8", device_type="cpu"))
    dataset = DATASETS.build(config.val_dataloader.dataset)
    loader = torch.utils.data.DataLoader(dataset, batch_size=30)
    normalise = config.model.data_preprocessor
    mean, std = (torch.tensor(normalise[key])[:, None, None] for key in ("mean", "std"))
    right = 0
    with torch.no_grad():
        for batch in loader:
            pooled = model.eval()((batch["inputs"].float() - mean) / std)[-1].mean((2, 3))
            logits = pooled @ head.weight.T + head.bias
            right += int((logits.argmax(1) == batch["labels"]).sum())
    assert first["history"][-1]["metrics"]["top1"] == pytest.approx(100 * right / len(dataset))


def test_killed_pair_matches_uninterrupted(pair, images, tiny_config, tmp_path):
    whole = pair[1]
    # In the third epoch of six iterations.
    options = {**OPTIONS, "hooks": [Kill(15)]}
    statuses = fork_ranks(_call, (images, tiny_config, tmp_path), options, processes=PROCESSES)
    assert statuses == [-signal.SIGKILL] * PROCESSES
    resumed = _pair(images, tiny_config, tmp_path, resume=True, **OPTIONS)
    for rank in range(PROCESSES):
        for part in ("model", "average"):
            assert _equal(resumed[rank][part], whole[rank][part]), f"{part} of rank {rank}"
        assert resumed[rank]["history"] == whole[rank]["history"]


@pytest.mark.parametrize("rank", [0, 1])
def test_pair_stops_together_and_matches_uninterrupted(pair, images, tiny_config, tmp_path, rank):
    """One process gets the signal in the second epoch, where the other has other batch statistics."""
    options = {**OPTIONS, "hooks": [Signal(8, rank)]}
    call = (images, tiny_config, tmp_path), options
    said = run_ranks(_call_until_stopped, *call, processes=PROCESSES)
    assert said[0] == said[1] and said[0].startswith("stopped: iteration 9 of 30 is saved")
    assert (tmp_path / "epoch_1_iter_9.pth").is_file()
    resumed = _pair(images, tiny_config, tmp_path, resume=True, **OPTIONS)
    for found, expected in zip(resumed, pair[1], strict=True):
        assert _equal(found["model"], expected["model"])
        assert _equal(found["average"], expected["average"])
        assert found["history"] == expected["history"]


_in_turn = SeededSampler._one_epoch


def _by_process(sampler, epoch):
    """The epoch's order, where the images of each process follow each other within a step."""
    order = _in_turn(sampler, epoch)
    steps = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return [
        position
        for step in steps
        for rank in range(PROCESSES)
        for position in step[rank::PROCESSES]
    ]


def test_other_number_of_processes_is_refused(pair, images, tiny_config):
    options = {**OPTIONS, "resume": True}
    with pytest.raises(AssertionError, match="number of processes was 2 and is 1; resume under"):
        run_ranks(_call, (images, tiny_config, pair[0]), options, processes=1)


@pytest.mark.parametrize("average", ["exponential", "cumulative"])
def test_two_processes_match_two_micro_batches(images, tiny_config, tmp_path, average):
    """One process with the same groups of batch norm gives the same network, up to rounding.

    Running statistics are updated twice a step, one after the other; `DeviceBatchHook` weighs the passes.
    """
    hooks = [CumulativeStatisticsHook()] if average == "cumulative" else []
    (pair, other), (one,) = (
        run_ranks(
            _call, (images, tiny_config, tmp_path / str(processes)), options, processes=processes
        )
        for processes, options in (
            (PROCESSES, {"hooks": hooks}),
            (
                1,
                {
                    "hooks": [*hooks, DeviceBatchHook(BATCH // PROCESSES, share=BATCH)],
                    "one_epoch": _by_process,
                },
            ),
        )
    )
    assert _equal(pair["model"], other["model"])
    names = [name for name in one["model"] if one["model"][name].is_floating_point()]
    far = {name: float((pair["model"][name] - one["model"][name]).abs().max()) for name in names}
    weights = max(far[name] for name in names if "running_" not in name)
    relative = [
        far[name] / float(one["model"][name].abs().max()) for name in names if "running_" in name
    ]
    scores = [found["history"][-1]["metrics"]["top1"] for found in (pair, one)]
    print(
        f"two processes against two micro-batches, {average} statistics: largest difference in weights "
        f"{weights:.2g}, in statistics {max(relative):.2g} of the largest in their layer; top-1 {scores}"
    )
    assert weights < 1e-4
    assert max(relative) < 1e-4
    assert scores[0] == pytest.approx(scores[1])
