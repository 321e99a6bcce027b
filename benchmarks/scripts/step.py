"""Measure a training step of each task at full size: ours, stock, and the limit without a harness.

Command: python -m benchmarks.scripts.step [--tasks cls det seg] [--precisions bf16 fp32] [--rounds N]
    [--size full|mini]

All steps train on one batch that stays in memory, so no loading is measured.
- ours: an iteration of the task, with all hooks of the Runner.
- limit: the same network, loss and optimiser on the preprocessed batch, without a Runner.
- stock: float32 and NCHW. For `cls` torchvision's ResNet-50 in a loop as in its reference script; for `det` and `seg`
  the network of mmdet's and mmseg's own config, with torchvision's kernels in place of mmcv's compiled ones, and
  without a Runner's hooks. The network, its weights and its frozen parts are the same as ours.

The three take turns, and the table has medians of CPU seconds, which other work on the machine changes little. The
ratios are those of the medians. Above 1, ours is faster.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, MODELS, DefaultScope
from torch import nn

import backbones
from backbones import CheckpointMetadata
from backbones.normalisation import IMAGENET_MEAN, IMAGENET_STD
from benchmarks.scripts.speed import FOLDERS, SETTINGS, Setting
from contract.files import write_json
from contract.settings import ROOT
from datasets import miniworld
from engine.acceptance.in_process import task_by_name
from engine.cli import parse
from engine.task import run

PRECISIONS = ("bf16", "fp32")
STOCK = {
    "det": "mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py",
    "seg": "mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py",
}
# The networks of torchvision's reference, and of mmdet's and mmseg's configs.
BACKBONES = {"cls": "resnet50_b", "det": "resnet50_b", "seg": "resnet50_c"}
# Images of a step at full size.
BATCH_SIZES = {"cls": 16, "det": 2, "seg": 1}
# More than are run, so that nothing is saved or tested.
ITERATIONS = 1000
Step = Callable[[], None]


class _FinishedError(Exception):
    """The measurement is complete; the training is not wanted."""


@HOOKS.register_module()
class StepHook(Hook):
    """Measure with the first batch of the training, and leave the Runner instead of training.

    Attributes:
        measure: What to do with the Runner and the batch.
    """

    measure: Callable[[Any, Any], None] | None

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Measure; the iterations that this makes come here again."""
        measure, StepHook.measure = StepHook.measure, None
        if measure is not None:
            measure(runner, data_batch)
            raise _FinishedError


def main() -> int:
    """Measure, print the table and write `runs/step-SIZE.json`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scripts.step", description=__doc__)
    parser.add_argument("--size", choices=SETTINGS, default="full")
    parser.add_argument("--tasks", nargs="+", choices=FOLDERS, default=list(FOLDERS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--rounds", type=int, default=2, help="steps of each kind")
    options = parser.parse_args()
    setting = SETTINGS[options.size]
    data = miniworld.prepare(setting.preset, ROOT / "data" / "miniworld")
    rows = {
        f"{task} {precision}": measure(setting, task, precision, data, options.rounds)
        for task in options.tasks
        for precision in options.precisions
    }
    print(f"\nCPU seconds of a step, {torch.get_num_threads()} thread(s)")
    print("| task | stock fp32 | ours | limit | stock / ours | limit / ours |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        print(_line(name, row))
    write_json(ROOT / "runs" / f"step-{options.size}.json", rows)
    return 0


def _line(name: str, row: Mapping[str, float]) -> str:
    ours, limit, stock = row["ours"], row["limit"], row.get("stock")
    cells = ("–", "–") if stock is None else (f"{stock:.3f}", f"{stock / ours:.2f} ×")
    return f"| {name} | {cells[0]} | {ours:.3f} | {limit:.3f} | {cells[1]} | {limit / ours:.2f} |"


def measure(
    setting: Setting, task: str, precision: str, data: Path, rounds: int
) -> dict[str, float]:
    """Return the median CPU seconds of each kind of step; `stock` only at full size."""
    found: dict[str, list[float]] = {}
    full = setting is SETTINGS["full"]
    backbone = BACKBONES[task] if full else setting.backbone
    batch_sizes = BATCH_SIZES if full else setting.batch_sizes

    def take_turns(runner: Any, batch: Any) -> None:
        steps = {"ours": ours(runner, batch), "limit": limit(runner, batch)}
        if full:
            steps["stock"] = stock(task, batch, runner.model)
        for number in range(rounds + 1):
            for kind, step in steps.items():
                used = time.process_time()
                step()
                # The first round chooses kernels.
                if number:
                    found.setdefault(kind, []).append(time.process_time() - used)

    StepHook.measure = take_turns
    chosen: Any = task_by_name(task)
    assemble = chosen.assemble

    def with_hook(job: Any) -> Config:
        config = assemble(job)
        hooks = config.get("custom_hooks") or []
        config.custom_hooks = [*hooks, ConfigDict(type=StepHook.__name__)]
        # mmengine keeps the visualiser of a name, and with it the folder.
        config.experiment_name = Path(job.options.work_dir).name
        config.pop("visualizer", None)
        return config

    chosen.assemble, chosen.labelled_features = with_hook, None
    budget = dict(iterations=ITERATIONS, workers=0, batch_size=batch_sizes[task], test_images=1)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_FinishedError):
        words = [setting.configs[task], "--backbone", backbone, "--work-dir", folder]
        words += ["--data", str(data / FOLDERS[task]), "--device", "cpu", "--precision", precision]
        if task != "cls":
            # A network without pre-trained weights would train all stages and all statistics.
            words += ["--checkpoint", str(_checkpoint(backbone, Path(folder)))]
        # The random weights stay as they are: a real step could make the next loss infinite.
        words += ["--lr-factor", "0.000001"]
        words += ["--budget", "smoke", "--set", f"budgets={ {'smoke': budget} }"]
        with contextlib.redirect_stdout(sys.stderr):
            run(chosen, parse("step", words, chosen.entry))
    return {kind: statistics.median(seconds) for kind, seconds in found.items()}


def _checkpoint(spec: str, folder: Path) -> Path:
    """Write a network with random filters, and batch statistics that fit them, as if it were pre-trained."""
    network = backbones.create(spec).train()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 1.0
    with torch.no_grad():
        network(torch.randn(8, 3, 64, 64))
    path = folder / "backbone.safetensors"
    origin = CheckpointMetadata(
        spec, "random", (), None, IMAGENET_MEAN, IMAGENET_STD, "RGB", seed=0, weights="raw"
    )
    backbones.export_checkpoint(network, path, origin)
    return path


def ours(runner: Any, batch: Any) -> Step:
    """Return an iteration of the training loop with its hooks."""
    by_epoch = "max_epochs" in runner.cfg.train_cfg
    numbers = itertools.count()

    def step() -> None:
        number = next(numbers)
        # An epoch-based loop takes the number of the batch too.
        arguments = (number, batch) if by_epoch else (batch,)
        runner.train_loop.run_iter(*arguments)

    return step


def limit(runner: Any, batch: Any) -> Step:
    """Return a step of the same network and optimiser without a Runner."""
    model, wrapper = runner.model, runner.optim_wrapper
    prepared = model.data_preprocessor(batch, True)

    def step() -> None:
        with wrapper.optim_context(model):
            losses = model._run_forward(prepared, mode="loss")
        loss, _ = model.parse_losses(losses)
        loss.backward()
        wrapper.optimizer.step()
        wrapper.optimizer.zero_grad(set_to_none=True)

    return step


def stock(task: str, batch: Any, trained: nn.Module) -> Step:
    """Return a float32 step of torchvision's, mmdet's or mmseg's own network with the weights of `trained`."""
    if task == "cls":
        return _torchvision(batch, trained)
    config = Config.fromfile(_installed(STOCK[task]))
    for part in (config.model, config.model.backbone):
        for key in ("pretrained", "init_cfg"):
            if key in part:
                part[key] = None
    with DefaultScope.overwrite_default_scope("mmdet" if task == "det" else "mmseg"):
        model: Any = revert_sync_batchnorm(MODELS.build(config.model)).train()
    _copy_weights(trained, model)
    wrapper = OptimWrapper(_sgd(model))
    return lambda: model.train_step(batch, optim_wrapper=wrapper)


def _installed(name: str) -> str:
    from mmengine.utils import get_installed_path

    package, path = name.split("::")
    return str(Path(get_installed_path(package)) / ".mim" / "configs" / path)


def _copy_weights(source: nn.Module, target: nn.Module, prefix: str = "backbone.") -> None:
    """Copy all tensors between equal networks: by name, and the stem's and the classifier's by order.

    Args:
        source: A network of this project.
        target: The stock network.
        prefix: How the names of the stock network's backbone begin.
    """
    places = target.state_dict()
    tensors = {
        name.replace("backbone.net.", prefix): tensor
        for name, tensor in source.state_dict().items()
    }
    renamed = [
        [name for name in a if name not in b] for a, b in ((tensors, places), (places, tensors))
    ]
    others = dict(zip(*renamed, strict=True))
    for name, tensor in tensors.items():
        other = others.get(name, name)
        if tensor.shape != places[other].shape:
            raise SystemExit(
                f"error: {name} has the shape {tuple(tensor.shape)} and stock's {other} "
                f"{tuple(places[other].shape)}; the networks must be the same"
            )
        places[other].copy_(tensor)


def _sgd(model: nn.Module) -> torch.optim.SGD:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.SGD(trained, lr=0.001, momentum=0.9, weight_decay=1e-4)


def _torchvision(batch: Any, trained: nn.Module) -> Step:
    """Return a step as in `train_one_epoch` of references/classification/train.py, which logs top-1 and top-5."""
    model = torchvision.models.resnet50().train()
    _copy_weights(trained, model, prefix="")
    criterion, optimiser = nn.CrossEntropyLoss(label_smoothing=0.1), _sgd(model)
    images = torch.randn(len(batch["inputs"]), 3, 224, 224)
    labels = torch.as_tensor(batch["labels"])

    def step() -> None:
        output = model(images)
        loss = criterion(output, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.inference_mode():
            correct = output.topk(5, 1).indices == labels[:, None]
            correct[:, :1].sum().item()
            correct.sum().item()
            loss.item()

    return step


if __name__ == "__main__":
    sys.exit(main())
