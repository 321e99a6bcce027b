"""Inference costs of a trained network: multiply-adds, time and memory.

They are measured once, after everything else, on the first test image, in float32 like the evaluation. Times and
memory differ from run to run; a resumed run need not reproduce them.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from mmengine.runner import Runner
from torch import Tensor, nn

import backbones
from contract.result import Metric
from engine.measure.preserve_state import preserve_state
from engine.runner.averaging import measured_model

BATCH = 8
MOST_RUNS = 50
# Below it, quartiles say little.
LEAST_RUNS = 5
# Time limit of each of the two timings, after the warm-up, once there are `LEAST_RUNS`.
SECONDS = 0.25
# A network that takes longer than this is timed once.
LONGEST_RUN_SECONDS = 1.0
# On a GPU, the first runs of a new shape load kernels and choose algorithms.
WARM_UPS = {"cpu": 1, "cuda": 3}

Infer = Callable[[Any, Tensor], object]


@dataclass
class Costs:
    """The measured costs, and how they were measured.

    Attributes:
        figures: Counts, times and memory.
        inference: For `result.json`: `input` (width x height of the network's input), `runs`, `batch`, `batch_runs`,
            `precision`, `threads`, and `notes` with reasons for missing measurements.
    """

    figures: list[Metric] = field(default_factory=list)
    inference: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Timing:
    """Seconds of each timed run of one batch."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median, in seconds."""
        return float(np.median(self.seconds))

    @property
    def interquartile_range(self) -> float | None:
        """The third quartile minus the first, in seconds; None for a single run."""
        if len(self.seconds) == 1:
            return None
        first, third = np.percentile(self.seconds, (25, 75))
        return float(third - first)


def measure(runner: Runner, infer: Infer, *, smoke: bool) -> Costs:
    """Count and time the network that validation measures; weights, modes and random states stay as they are.

    A timed run is the forward pass and the post-processing of a batch that is already on the device, normalised and
    padded; loading and copying are excluded. On a GPU, the device is synchronised before the clock is read.

    Args:
        runner: The runner after training.
        infer: Runs the layers of inference, for counting; it is called with the model and an image `(1, 3, H, W)`,
            both on torch's device "meta".
        smoke: One run without warm-up, and no batch.

    Returns:
        The costs. A measurement that fails, for example because GPU memory is full, is replaced by a note; the result
        of the training must not be lost.
    """
    model = measured_model(runner)
    costs = Costs()
    with preserve_state(model), torch.no_grad():
        one = _batch(runner, model, 1)
        height, width = one["inputs"].shape[-2:]
        costs.inference = {
            "input": f"{width}x{height}",
            "precision": str(one["inputs"].dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "runs": 0,
            "batch": BATCH,
            "batch_runs": 0,
            "notes": [],
        }
        attempts = [lambda: _count(model, infer, (height, width), costs)]
        attempts += [lambda: _time(runner, model, one, smoke, costs)]
        for what, attempt in zip(("multiply-adds", "times"), attempts, strict=True):
            try:
                attempt()
            except (RuntimeError, NotImplementedError) as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                costs.inference["notes"].append(f"{what} could not be measured: {reason}")
    return costs


def _count(model: nn.Module, infer: Infer, size: tuple[int, int], costs: Costs) -> None:
    """Add the multiply-adds of the backbone and of the whole network at an input size."""
    image = torch.empty(1, 3, *size, device="meta")
    counts = {
        "multiply_adds": backbones.multiply_adds_of(model, lambda net: infer(net, image)),
        "backbone_multiply_adds": backbones.multiply_adds_of(
            model, lambda net: cast(Any, net).backbone(image)
        ),
    }
    costs.figures += [
        Metric(name=name, value=count / 1e9, unit="G", higher_is_better=False)
        for name, count in counts.items()
    ]


def _time(runner: Runner, model: Any, one: dict[str, Any], smoke: bool, costs: Costs) -> None:
    """Add latency, throughput and, on a GPU, memory."""
    device = one["inputs"].device
    latency = time_runs(lambda: model._run_forward(one, "predict"), device, smoke=smoke)
    costs.inference["runs"] = len(latency.seconds)
    costs.figures.append(
        Metric(name="latency", value=1e3 * latency.median, unit="ms", higher_is_better=False)
    )
    if latency.interquartile_range is not None:
        spread = 1e3 * latency.interquartile_range
        costs.figures.append(
            Metric(name="latency_iqr", value=spread, unit="ms", higher_is_better=False)
        )
    if device.type == "cuda":
        memory = _gpu_memory_mib(lambda: model._run_forward(one, "predict"), model, device)
        costs.figures.append(
            Metric(name="inference_memory", value=memory, unit="MiB", higher_is_better=False)
        )
    if smoke:
        return
    if BATCH * latency.median > LONGEST_RUN_SECONDS:
        costs.inference["notes"].append(
            f"images/s were not measured: a batch of {BATCH} would take more than {LONGEST_RUN_SECONDS:g} s"
        )
        return
    several = _batch(runner, model, BATCH)
    timing = time_runs(lambda: model._run_forward(several, "predict"), device, smoke=False)
    costs.inference["batch_runs"] = len(timing.seconds)
    costs.figures.append(
        Metric(name="inference_images_per_second", value=BATCH / timing.median, unit="images/s")
    )


def time_runs(run: Callable[[], object], device: torch.device, *, smoke: bool = False) -> Timing:
    """Time a function: `WARM_UPS`, then as many runs as `SECONDS` allow, from `LEAST_RUNS` to `MOST_RUNS`.

    A function that takes longer than `LONGEST_RUN_SECONDS` runs once. The time of the warm-up does not count.

    Args:
        run: The function to time.
        device: Its device; a GPU is synchronised before each reading of the clock.
        smoke: One run, no warm-up.
    """
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(0 if smoke else WARM_UPS.get(device.type, 1)):
        run()
    wait()
    seconds: list[float] = []
    while not seconds or not (smoke or _enough(seconds)):
        wait()
        before = time.perf_counter()
        run()
        wait()
        seconds.append(time.perf_counter() - before)
    return Timing(tuple(seconds))


def _enough(seconds: Sequence[float]) -> bool:
    """Whether the timed runs are enough."""
    if len(seconds) >= MOST_RUNS:
        return True
    if len(seconds) < LEAST_RUNS:
        return seconds[-1] >= LONGEST_RUN_SECONDS
    return sum(seconds) >= SECONDS


def _gpu_memory_mib(run: Callable[[], object], model: nn.Module, device: torch.device) -> float:
    """Return the memory of the weights plus the largest addition during a run, in MiB.

    The optimiser's state and the gradients of the training are still in memory and are not counted.
    """
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    added = torch.cuda.max_memory_allocated(device) - before
    tensors = [*model.parameters(), *model.buffers()]
    return (added + sum(t.numel() * t.element_size() for t in tensors)) / 2**20


def _batch(runner: Any, model: Any, size: int) -> dict[str, Any]:
    """Return the first test image `size` times, as the model's forward takes it."""
    loader = runner.val_loop.dataloader
    sample = loader.dataset[0]
    # Copies, because predictions are written into a sample.
    data = loader.collate_fn([copy.deepcopy(sample) for _ in range(size)])
    return model.data_preprocessor(data, False)
