"""Measure what a run costs: train and test for some seconds, and write speeds, memory and sizes to a file.

`--measure FILE` of every task. Nothing is trained: the learning rate is 0. The harness scales the figures to the
schedule of a run.
"""

from __future__ import annotations

import contextlib
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner

from contract.files import write_json
from engine.cli import make_work_dir
from engine.job import Job
from engine.measure.costs import measure
from engine.passes import attach
from engine.runner.batch import HOOK
from engine.runner.learning_rate import apply_multipliers
from engine.runner.loss_guard import NonFiniteLossHook
from engine.runner.numerics import choose_numerics
from engine.runner.progress import ProgressHook
from engine.runner.timing import CpuTimeHook
from engine.runner.validation import ValidationHistoryHook

if TYPE_CHECKING:
    from engine.task import Task

TRAIN_SECONDS = 10.0
TEST_SECONDS = 4.0
LOAD_SECONDS = 1.0
# After the first iteration, which chooses kernels and fills the loader's queue.
LEAST_ITERATIONS = 3
# On a CPU a whole published batch would take minutes. The speed hardly depends on the batch there.
CPU_PIXELS = 8 * 224 * 224
_UNLIMITED = 10**9


class _Enough(Exception):
    """The time is over."""


class _Clock(Hook):
    """End training and validation by the clock, and keep the durations of their iterations."""

    # After every other hook, whose time belongs to the iteration.
    priority = "LOWEST"

    def __init__(self) -> None:
        self.first_started = 0.0
        self.train: list[float] = []
        self.waits: list[float] = []
        self.tests: list[tuple[float, int]] = []
        self.resting_bytes = 0
        self._last = 0.0
        self._until = 0.0

    def before_train(self, runner: Any) -> None:
        self.resting_bytes = psutil.Process().memory_info().rss
        self.first_started = time.time()
        self._last = time.monotonic()
        self._until = self._last + TRAIN_SECONDS

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.waits.append(time.monotonic() - self._last)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        _wait()
        now = time.monotonic()
        self.train.append(now - self._last)
        self._last = now
        if len(self.train) > LEAST_ITERATIONS and now > self._until:
            raise _Enough

    def start_tests(self) -> None:
        """Start the clock of the tests."""
        self._until = time.monotonic() + TEST_SECONDS

    @property
    def tests_done(self) -> bool:
        """Whether the time of the tests is over."""
        return time.monotonic() > self._until

    def before_val_epoch(self, runner: Any) -> None:
        self._last = time.monotonic()

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        _wait()
        now = time.monotonic()
        self.tests.append((now - self._last, len(outputs or ())))
        self._last = now
        if self.tests_done and len(self.tests) > 1:
            raise _Enough


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def run_trial(task: Task, job: Job, config: Config, target: Path) -> None:
    """Train and test for some seconds and write the figures.

    Args:
        task: The task.
        job: The job.
        config: Its finished Runner config, which is changed.
        target: The file for the figures: `start_seconds`, from the start of the process to the first step;
            `seconds_per_image` of training, with the wait for the loader; `device_seconds_per_image` without it;
            `load_seconds_per_image` of one loader process; `test_seconds_per_image`; `end_seconds`, of what follows
            the training; bytes of memory and of files; numbers of images.
    """
    make_work_dir(job.options.work_dir)
    with DefaultScope.overwrite_default_scope(task.scope):
        dataset: Any = DATASETS.build(config.train_dataloader.dataset)
    dataset.full_init()
    published = config.train_dataloader.batch_size
    pixels, load_seconds = _try_loading(dataset)
    if job.device_type == "cpu":
        _take_small_batches(config, pixels)
    _train_without_end(config)
    task.without_teacher(config)
    runner: Any = Runner.from_cfg(config)
    attach(task, job, config, runner)
    choose_numerics(
        job.precision, one_shape=task.one_shape, deterministic=job.options.deterministic
    )
    apply_multipliers(runner)
    clock = _Clock()
    runner.register_hook(clock)
    with contextlib.suppress(_Enough):
        runner.train()
    workers = _workers_bytes()
    model = runner.model.module if hasattr(runner.model, "module") else runner.model
    clock.start_tests()
    with contextlib.suppress(_Enough):
        runner.val_loop.run()
        while not clock.tests_done:
            runner.val_loop.run()
    before = time.monotonic()
    measure(runner, task.infer, smoke=job.options.budget == "smoke")
    ended = time.monotonic() - before
    size, optimizer = config.train_dataloader.batch_size, runner.optim_wrapper.optimizer
    figures = {
        **_times(clock, size),
        "load_seconds_per_image": load_seconds,
        "end_seconds": ended,
        "published_images": published,
        **_memory(clock, job, model, optimizer, size),
        "worker_bytes": workers,
        **_file_bytes(task, model, optimizer),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    write_json(target, figures)


def _times(clock: _Clock, size: int) -> dict[str, float]:
    """Return the seconds of start, training and tests; the first iteration belongs to the start.

    Args:
        clock: The clock.
        size: Images of an iteration.
    """
    steady, waits = (float(np.median(values[1:])) for values in (clock.train, clock.waits))
    started = clock.first_started - psutil.Process().create_time()
    return {
        "start_seconds": started + max(0.0, clock.train[0] - steady),
        "seconds_per_image": steady / size,
        "device_seconds_per_image": (steady - waits) / size,
        "test_seconds_per_image": _test_seconds(clock),
        "iterations": len(clock.train),
        "images": size,
        "test_images": sum(images for _, images in clock.tests),
    }


def _try_loading(dataset: Any) -> tuple[int, float]:
    """Return the pixels of a training image, and the seconds that one process takes to load it."""
    pixels, seconds, position = 1, [], 0
    until = time.monotonic() + LOAD_SECONDS
    while position < 2 or time.monotonic() < until:
        before = time.monotonic()
        sample = dataset[position * 7 % len(dataset)]
        seconds.append(time.monotonic() - before)
        pixels = max(pixels, sample["inputs"].numel() // 3)
        position += 1
    return pixels, float(np.mean(seconds[1:]))


def _take_small_batches(config: Config, pixels: int) -> None:
    """Set a batch of about `CPU_PIXELS`, which is never larger than a forward pass of the run."""
    hooks = config.get("custom_hooks") or []
    sizes = [hook.size for hook in hooks if hook["type"] == HOOK]
    largest = min([*sizes, config.train_dataloader.batch_size])
    # Batch norm needs two values per channel.
    size = min(largest, max(2, round(CPU_PIXELS / pixels)))
    config.train_dataloader.batch_size = size
    config.val_dataloader.batch_size = min(size, config.val_dataloader.batch_size)
    config.custom_hooks = [hook for hook in hooks if hook["type"] != HOOK]


def _train_without_end(config: Config) -> None:
    """Let training go on until the clock ends it, whatever the number of images, and change nothing."""
    config.train_cfg = ConfigDict(
        type="IterBasedTrainLoop", max_iters=_UNLIMITED, val_interval=_UNLIMITED
    )
    config.train_dataloader.sampler.infinite = True
    config.param_scheduler = None
    config.optim_wrapper.optimizer.lr = 0.0
    config.default_hooks.checkpoint = None
    config.default_hooks.logger = ConfigDict(
        type="LoggerHook", interval=50, log_metric_by_epoch=False
    )
    config.log_processor = ConfigDict(window_size=50, by_epoch=False)
    # Hooks of a real training: random weights may give an infinite loss, and nobody waits for the progress.
    idle = {
        hook.__name__
        for hook in (NonFiniteLossHook, ProgressHook, ValidationHistoryHook, CpuTimeHook)
    }
    config.custom_hooks = [hook for hook in config.custom_hooks if hook["type"] not in idle]


def _test_seconds(clock: _Clock) -> float:
    """Return the seconds of a test image, without the first batch if there are others."""
    counted = clock.tests[1:] or clock.tests
    return sum(seconds for seconds, _ in counted) / max(1, sum(images for _, images in counted))


def _bytes(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _state(optimizer: Any) -> list[torch.Tensor]:
    return [
        value
        for entry in optimizer.state.values()
        for value in entry.values()
        if isinstance(value, torch.Tensor)
    ]


def _memory(clock: _Clock, job: Job, model: Any, optimizer: Any, size: int) -> dict[str, Any]:
    """Return the memory of the process: `device_bytes` and `host_bytes`, or on a CPU what an image adds."""
    info = psutil.Process().memory_info()
    if job.device_type == "cuda":
        return {
            "device_bytes": torch.cuda.max_memory_reserved(),
            "host_bytes": info.rss,
            "image_bytes": 0,
        }
    fixed = _bytes(p for p in model.parameters() if p.requires_grad) + _bytes(_state(optimizer))
    per_image = max(0, _peak_bytes() - clock.resting_bytes - fixed) // size
    return {
        "device_bytes": None,
        "host_bytes": clock.resting_bytes + fixed,
        "image_bytes": per_image,
    }


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _workers_bytes() -> int:
    """Return the memory of the loader's processes that they do not share with this one."""
    found = 0
    for process in psutil.Process().children(recursive=True):
        try:
            found += process.memory_full_info().uss
        except psutil.Error:
            continue
    return found


def _file_bytes(task: Task, model: Any, optimizer: Any) -> dict[str, int]:
    """Return the sizes of a checkpoint to resume from, and of exported weights."""
    exported = 0 if task.entry.starts_from else _bytes(model.backbone.state_dict().values())
    return {
        "checkpoint_bytes": _bytes(model.state_dict().values()) + _bytes(_state(optimizer)),
        "exported_bytes": exported,
    }
