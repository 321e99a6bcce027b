"""Images per second with and without data loading, and what one CPU core loads."""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from contract.acceptance import Line, Verdict
from engine.acceptance.in_process import task_by_name
from engine.cli import parse
from engine.job import Job
from engine.runner.accumulation import DeviceBatchHook
from engine.task import run

GIB = 2**30
_WARM_UP = 3
_SECONDS = 4.0
_MOST_BATCHES = 60
# Below this share of what the device takes, it waits for images.
_FED = 0.85
_LEAST_OF_ESTIMATE = 0.4


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


@dataclass(frozen=True)
class StepBytes:
    """Memory that a training step adds to the weights.

    Attributes:
        images: Images of the step.
        estimate: As it is computed before a training, with its margin.
        measured: The allocator's peak.
    """

    images: int
    estimate: float
    measured: float


class _FinishedError(Exception):
    """The measurement is complete; the training is not wanted."""


@HOOKS.register_module()
class SpeedHook(Hook):
    """Measure once everything is built, and leave the Runner instead of training."""

    # After the hook that divides a step into passes.
    priority = "LOWEST"
    speeds: ClassVar[Speeds]
    memory: ClassVar[StepBytes | None]

    def before_train(self, runner: Any) -> None:
        """Measure."""
        SpeedHook.memory = None
        SpeedHook.speeds = _measure(runner)
        raise _FinishedError


def check_speed(options: argparse.Namespace, device_type: str) -> Iterator[Line]:
    """Yield a line on the speed of a task's training, and on a GPU one on the memory of a step.

    Args:
        options: `task`, `config`, `backbone`, `data`, `batch_size`, `workers` and `cores`.
        device_type: `cpu` or `cuda`.
    """
    task = task_by_name(options.task)
    assemble = task.assemble

    def with_hook(job: Job) -> Config:
        config = assemble(job)
        hooks = config.get("custom_hooks") or []
        config.custom_hooks = [*hooks, ConfigDict(type=SpeedHook.__name__)]
        return config

    task.assemble = with_hook
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_FinishedError):
        words = [options.config, "--backbone", options.backbone, "--data", str(options.data)]
        words += ["--work-dir", folder, "--device", device_type]
        for key in ("batch_size", "device_batch_size"):
            words += ["--set", f"{key}={options.batch_size}"]
        words += ["--set", f"workers={options.workers}"]
        with contextlib.redirect_stdout(io.StringIO()):
            run(task, parse("speed", words, task.entry))
    subject = f"{options.task} with {options.backbone}, {device_type}"
    yield judge(SpeedHook.speeds, subject, options.cores, device_type)
    if SpeedHook.memory is not None:
        yield judge_memory(SpeedHook.memory, subject)


def judge(speeds: Speeds, subject: str, cores: int, device_type: str) -> Line:
    """Return the line on a measurement.

    Args:
        speeds: What was measured.
        subject: Task, network and device.
        cores: Cores of this machine for each device.
        device_type: A CPU cannot wait for images: it loads them itself.
    """
    needed = speeds.cores_needed
    starved = device_type == "cuda" and speeds.fed < _FED * speeds.device
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
        expected=f"on a GPU, at least {_FED:.0%} of the speed without loading",
        verdict="note" if starved else "ok",
        numbers={
            "images/s without loading": speeds.device,
            "images/s with loading": speeds.fed,
            "images/s of a core": speeds.core,
            "cores needed": needed,
            "cores": cores,
        },
    )


def judge_memory(memory: StepBytes, subject: str) -> Line:
    """Return the line on the estimated and the measured memory of a step."""
    ratio = memory.measured / memory.estimate
    verdict: Verdict = "ok"
    if not _LEAST_OF_ESTIMATE <= ratio <= 1:
        # Too low an estimate ends in an out-of-memory error; too high a one only makes passes smaller.
        verdict = "failed" if ratio > 1 else "note"
    return Line(
        check=f"memory of a step of {memory.images} images, {subject}",
        found=f"{memory.measured / GIB:.2f} GiB",
        expected=f"at most the estimate, {memory.estimate / GIB:.2f} GiB, and at least {_LEAST_OF_ESTIMATE:.0%} of it",
        verdict=verdict,
        numbers={"measured GiB": memory.measured / GIB, "estimated GiB": memory.estimate / GIB},
    )


def _measure(runner: Any) -> Speeds:
    model, loader = runner.model, runner.train_dataloader
    # With the number formats and kernels of training.
    runner.call_hook("before_train_epoch")
    model.train()
    on_gpu = next(model.parameters()).is_cuda

    def step(batch: Any) -> None:
        model.train_step(batch, optim_wrapper=runner.optim_wrapper)
        if on_gpu:
            torch.cuda.synchronize()

    estimate = _estimate(runner)
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
    fed = _rate(step, batches)
    del batches
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    device = _rate(step, (batch for _ in range(_MOST_BATCHES)))
    if on_gpu and estimate is not None:
        images = len(batch["inputs"])
        added = torch.cuda.max_memory_allocated() - _bytes(model)
        SpeedHook.memory = StepBytes(images, estimate(images), added)
    return Speeds(device, fed, _core_rate(loader), workers)


def _estimate(runner: Any) -> Callable[[int], float] | None:
    """Return the estimated bytes of a step by its images, as the Runner's own hook computes them."""
    hook = next((one for one in runner.hooks if isinstance(one, DeviceBatchHook)), None)
    if hook is None or hook.estimate is None:
        return None
    return hook.estimate(runner).of


def _bytes(model: torch.nn.Module) -> int:
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _rate(step: Callable[[Any], None], batches: Iterator[Any]) -> float:
    """Return images per second of at most `_MOST_BATCHES` steps in `_SECONDS`."""
    started = time.perf_counter()
    images = 0
    for steps, batch in enumerate(batches, 1):
        step(batch)
        images += len(batch["inputs"])
        if steps == _MOST_BATCHES or time.perf_counter() - started > _SECONDS:
            break
    return images / (time.perf_counter() - started)


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
