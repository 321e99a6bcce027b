"""Two processes train one classifier: they agree on statistics, hand off what they tested, and resume exactly."""

import os
import signal
import warnings
from types import SimpleNamespace

import backbones
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from support.classification import write_images
from support.processes import fork_ranks, run_ranks

from cls_train.assemble import assemble
from cls_train.train import Classification
from engine import task as engine_task
from engine.cli import Options
from engine.runner.validation import VALIDATION_HISTORY

PROCESSES = 2
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


def _train(data, config, folder, *, tricks=(), resume=False, killed_in=None, budget="full", **set_):
    warnings.simplefilter("ignore")
    task = Recording()
    options = Options(
        config=str(config), data=data, work_dir=folder, backbone="resnet10_b-w8", precision="fp32",
        tricks=tricks, resume=resume, budget=budget, overrides=set_,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        # Costs are not what is tested.
        measured = SimpleNamespace(figures=[], inference={"precision": "float32"})
        patch.setattr(engine_task, "measure", lambda *_, **__: measured)
        patch.setattr(engine_task, "write_result", lambda *_: None)
        if killed_in is not None:
            patch.setattr(engine_task, "apply_multipliers", lambda r: r.register_hook(Kill(killed_in)))
        engine_task.run(task, options)
    return task.found


def _pair(*arguments, **options):
    """Train in two processes; return what each of them has at the end."""
    return run_ranks(_call, arguments, options, processes=PROCESSES)


def _call(arguments, options):
    return _train(*arguments, **options)


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
    options = Options(config=str(tiny_config), data=images, work_dir=folder, backbone="resnet10_b-w8")
    config = assemble(SimpleNamespace(options=options, spec="resnet10_b-w8"))
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
    options = {**OPTIONS, "killed_in": 15}
    statuses = fork_ranks(_call, (images, tiny_config, tmp_path), options, processes=PROCESSES)
    assert statuses == [-signal.SIGKILL] * PROCESSES
    resumed = _pair(images, tiny_config, tmp_path, resume=True, **OPTIONS)
    for rank in range(PROCESSES):
        for part in ("model", "average"):
            assert _equal(resumed[rank][part], whole[rank][part]), f"{part} of rank {rank}"
        assert resumed[rank]["history"] == whole[rank]["history"]
