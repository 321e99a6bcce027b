"""Images per second with and without data loading, and what one CPU core loads."""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from contract.acceptance import Line
from engine.acceptance.in_process import task_by_name
from engine.cli import parse
from engine.job import resolve_job
from engine.runner.learning_rate import apply_multipliers
from engine.task import prepare

_WARM_UP = 3
_SECONDS = 4.0
_MOST_BATCHES = 60
# Below this share of what the device takes, it waits for images.
_FED = 0.85


@dataclass(frozen=True)
class Speeds:
    """Images per second.

    Attributes:
        device: Of training steps on one batch that is repeated.
        fed: Of training steps on batches from the loader.
        core: Of one CPU core that loads, transforms and collates.
        workers: Processes of the loader.
    """

    device: float
    fed: float
    core: float
    workers: int

    @property
    def cores_needed(self) -> float:
        """Cores that feed the device."""
        return self.device / self.core


class _Finished(Exception):
    """The measurement is complete; the training is not wanted."""


class _SpeedHook(Hook):
    """Measure once everything is built, instead of training."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.speeds: Speeds | None = None

    def before_train(self, runner: Any) -> None:
        """Measure, and leave the Runner."""
        self.speeds = _measure(runner)
        raise _Finished


def check_speed(options: argparse.Namespace, device_type: str) -> Iterator[Line]:
    """Yield a line on the speed of a task's training.

    Args:
        options: `task`, `config`, `backbone`, `data`, `batch_size` and `workers`.
        device_type: `cpu` or `cuda`.
    """
    task = task_by_name(options.task)
    with tempfile.TemporaryDirectory() as folder:
        words = [options.config, "--backbone", options.backbone, "--data", str(options.data)]
        words += ["--work-dir", folder, "--set", f"batch_size={options.batch_size}"]
        words += ["--set", f"workers={options.workers}"]
        job = resolve_job(parse("speed", words, task.entry))
        runner = Runner.from_cfg(prepare(task, job))
        apply_multipliers(runner)
        hook = _SpeedHook()
        runner.register_hook(hook, "LOWEST")
        with contextlib.suppress(_Finished):
            runner.train()
    assert hook.speeds is not None
    subject = f"{options.task} with {options.backbone}, {job.precision.dtype}"
    yield judge(hook.speeds, f"{subject}, {device_type}", options.cores)


def judge(speeds: Speeds, subject: str, cores: int) -> Line:
    """Return the line on a measurement.

    Args:
        speeds: What was measured.
        subject: Task, network, precision and device.
        cores: Cores of this machine for each device.
    """
    needed = speeds.cores_needed
    starved = speeds.fed < _FED * speeds.device
    found = (
        f"{speeds.device:.0f} images/s of one batch, {speeds.fed:.0f} with {speeds.workers} loader process(es); a core "
        f"loads {speeds.core:.0f} images/s, so {needed:.1f} cores are needed"
    )
    if starved:
        # With enough cores, something else is too slow: the memory, or a loader with too few processes.
        cause = "" if needed > cores else "; a higher number of workers may help"
        found += f": the device waits for images with {cores} core(s){cause}"
    return Line(
        check=f"speed of {subject}",
        found=found,
        expected=f"at least {_FED:.0%} of the speed without loading",
        verdict="note" if starved else "ok",
        numbers={
            "images/s without loading": speeds.device,
            "images/s with loading": speeds.fed,
            "images/s of a core": speeds.core,
            "cores needed": needed,
            "cores": cores,
        },
    )


def _measure(runner: Any) -> Speeds:
    model, loader = runner.model, runner.train_dataloader
    model.train()

    def step(batch: Any) -> None:
        model.train_step(batch, optim_wrapper=runner.optim_wrapper)
        if torch.cuda.is_available() and next(model.parameters()).is_cuda:
            torch.cuda.synchronize()

    workers = loader.num_workers
    batches = iter(loader)
    batch = next(batches)
    for _ in range(_WARM_UP):
        step(batch)
    # The first batches have been prepared during the warm-up.
    for _ in range(workers * (loader.prefetch_factor or 0)):
        last = next(batches, None)
        if last is None:
            break
        batch = last
        step(batch)
    fed = _rate(step, batches, loader.batch_size)
    del batches
    device = _rate(step, (batch for _ in range(_MOST_BATCHES)), loader.batch_size)
    return Speeds(device, fed, _core_rate(loader), workers)


def _rate(step: Any, batches: Iterator[Any], batch_size: int) -> float:
    """Return images per second of at most `_MOST_BATCHES` steps in `_SECONDS`."""
    started = time.perf_counter()
    count = 0
    for batch in batches:
        step(batch)
        count += 1
        if count == _MOST_BATCHES or time.perf_counter() - started > _SECONDS:
            break
    return count * batch_size / (time.perf_counter() - started)


def _core_rate(loader: Any) -> float:
    """Return the images per second that one core loads, transforms and collates: the median of single batches."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rates: list[float] = []
    started = time.perf_counter()
    while not rates or time.perf_counter() - started < _SECONDS / 2:
        used = time.process_time()
        count = min(loader.batch_size, 16, len(loader.dataset))
        first = len(rates) * count
        samples = [loader.dataset[(first + k) % len(loader.dataset)] for k in range(count)]
        loader.collate_fn(samples)
        rates.append(count / (time.process_time() - used))
    torch.set_num_threads(threads)
    return statistics.median(rates)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `check_speed`."""
    add = parser.add_argument
    add("--task", default="cls")
    add("--config", default="mini")
    add("--backbone", default="resnet10_b-w8")
    add("--data", type=Path, help="the dataset's folder")
    add("--batch-size", type=int, default=32)
    add("--workers", type=int, default=1)
    add("--cores", type=int, default=1, help="CPU cores for each device")
