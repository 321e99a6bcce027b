"""Compare the peak memory that a task records with a second gauge."""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import torch

from contract.acceptance import Line
from contract.result import RESULT_FILE, read_result
from engine.acceptance.in_process import task_by_name
from engine.task import main

MIB = 2**20
_TOLERANCE = 0.05
_SAMPLE_SECONDS = 0.02


def check_memory(options: argparse.Namespace, device_type: str) -> Iterator[Line]:
    """Train a task for a few iterations in this process, and compare its peak memory with that of a gauge.

    Args:
        options: `task`, `config`, `backbone` and `data`.
        device_type: `cpu` or `cuda`.
    """
    gauge = _allocator_peak if device_type == "cuda" else _resident_peak
    with tempfile.TemporaryDirectory() as folder:
        words = [options.config, "--backbone", options.backbone, "--data", str(options.data)]
        words += ["--work-dir", folder, "--budget", "smoke", "--device", device_type]
        with gauge() as read, contextlib.redirect_stdout(io.StringIO()):
            status = main(task_by_name(options.task), words)
            peak = read()
        if status != 0:
            found = f"the training ended with exit status {status}"
            yield Line(check="peak memory against a gauge", found=found, verdict="failed")
            return
        recorded = read_result(Path(folder) / RESULT_FILE).peak_memory_mib
    yield judge(recorded, peak, device_type)


def judge(recorded: float | None, peak: float, device_type: str) -> Line:
    """Return the line on a peak.

    Args:
        recorded: In MiB, from `result.json`.
        peak: In MiB, of the gauge. On a CPU it is sampled and therefore a lower limit.
        device_type: `cpu` or `cuda`.
    """
    low = (1 - _TOLERANCE) * peak
    high = (1 + _TOLERANCE) * peak if device_type == "cuda" else psutil.virtual_memory().total / MIB
    source = "torch's allocator" if device_type == "cuda" else "samples of the resident set"
    limits = f"within {_TOLERANCE:.0%}" if device_type == "cuda" else "at least about"
    return Line(
        check=f"peak memory against a gauge, {device_type}",
        found=f"{recorded} MiB",
        expected=f"{limits} {peak:.1f} MiB by {source}",
        verdict="ok" if recorded is not None and low <= recorded <= high else "failed",
        numbers={"recorded MiB": recorded, "gauge MiB": peak},
    )


@contextlib.contextmanager
def _allocator_peak() -> Iterator[Callable[[], float]]:
    """Keep the allocator's peak across resets: mmengine's logger resets it with every line that it logs."""
    reset, largest = torch.cuda.reset_peak_memory_stats, 0.0

    def read() -> float:
        return max(largest, torch.cuda.max_memory_allocated() / MIB)

    def note_and_reset(*args: object, **keywords: object) -> None:
        nonlocal largest
        largest = read()
        reset(*args, **keywords)  # pyright: ignore[reportArgumentType]

    torch.cuda.reset_peak_memory_stats = note_and_reset
    try:
        yield read
    finally:
        torch.cuda.reset_peak_memory_stats = reset


@contextlib.contextmanager
def _resident_peak() -> Iterator[Callable[[], float]]:
    """Sample the memory of this process."""
    process, ended, largest = psutil.Process(), threading.Event(), 0.0

    def sample() -> None:
        nonlocal largest
        while not ended.wait(_SAMPLE_SECONDS):
            largest = max(largest, process.memory_info().rss / MIB)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield lambda: largest
    finally:
        ended.set()
        thread.join()
