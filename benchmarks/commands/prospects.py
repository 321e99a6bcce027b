"""What the runs that are left cost in all, in sentences."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.plan.costs import Cost
from benchmarks.plan.estimate import UNKNOWN, Estimate, runs_left
from benchmarks.plan.machine import Slots, memory_bytes
from benchmarks.plan.plan import Plan
from benchmarks.plan.spread import longest_chain, total_seconds
from benchmarks.plan.store import RunKey
from benchmarks.run.display import format_long
from contract.tasks import SOURCE

_GIB = 1024**3
_PLACES = {"cuda": (1, 2, 4, 8, 16), "cpu": (1, 2, 4)}


def describe(plan: Plan, slots: Slots, found: Mapping[RunKey, Estimate]) -> Iterator[str]:
    """Yield sentences on time, memory and disk space of the runs that are left.

    Args:
        plan: The plan.
        slots: The number of runs at a time.
        found: The estimate of each selected run.
    """
    left = {run.key: found[run.key] for run in runs_left(plan)}
    known = {key: one.cost for key, one in left.items() if one.cost is not None}
    if not left:
        yield "Time left: none; every run is done."
        return
    yield from _work(plan, slots, left, known)
    if known:
        yield from _time(plan, slots, known, complete=len(known) == len(left))
        yield from _space(plan, slots, list(known.values()))
    yield from _stated(plan, known)


def _work(
    plan: Plan, slots: Slots, left: Mapping[RunKey, Estimate], known: Mapping[RunKey, Cost]
) -> Iterator[str]:
    counts = Counter(estimate.source for estimate in left.values())
    sources = ", ".join(
        f"{count} {source}" for source, count in counts.items() if source != UNKNOWN
    )
    unknown = counts[UNKNOWN]
    missing = f"{unknown} unknown and not counted" if unknown else ""
    runs = f"{len(left)} run{'s' if len(left) > 1 else ''} left ({', '.join(filter(None, (sources, missing)))})"
    if not known:
        yield f"{runs}. Time left: unknown."
        return
    hours = sum(cost.seconds for cost in known.values()) / 3600
    if plan.compute.device == "cuda":
        yield f"{runs}: {_hours(hours)} GPU-hours."
    else:
        yield f"{runs}: {_hours(hours * slots.threads)} CPU-hours (of one core)."


def _time(
    plan: Plan, slots: Slots, known: Mapping[RunKey, Cost], *, complete: bool
) -> Iterator[str]:
    seconds = {key: cost.seconds for key, cost in known.items()}
    needs = {key: plan.find(key).needs for key in seconds}
    chain = longest_chain(seconds, needs)
    least = "" if complete else "at least "
    total = total_seconds(seconds, needs, slots.jobs)
    yield (
        f"Time left: {least}about {format_long(total)}, {slots.jobs} at a time. Longest chain: "
        f"{format_long(sum(seconds[key] for key in chain))}, {' → '.join(map(str, chain))}."
    )
    places = _PLACES.get(plan.compute.device, _PLACES["cpu"])
    what = (
        "With N GPUs" if plan.compute.device == "cuda" else "With N at a time, each as fast as here"
    )
    spread = ", ".join(
        f"{count}: {format_long(total_seconds(seconds, needs, count))}" for count in places
    )
    yield f"{what}: {spread}."


def _space(plan: Plan, slots: Slots, costs: Sequence[Cost]) -> Iterator[str]:
    device = [cost.device_bytes for cost in costs if cost.device_bytes is not None]
    host = [cost.host_bytes for cost in costs if cost.host_bytes is not None]
    disk = [cost.disk_bytes for cost in costs if cost.disk_bytes is not None]
    parts = []
    if device:
        parts.append(f"GPU memory: up to {_gib(max(device))} a run")
    if host:
        # The largest ones may meet.
        together = sum(sorted(host)[-slots.jobs :])
        parts.append(
            f"memory: up to {_gib(max(host))} a run, {_gib(together)} together (this machine: "
            f"{_gib(memory_bytes())})"
        )
    if disk:
        free = shutil.disk_usage(_existing(plan.run_dir)).free
        parts.append(f"disk: {_gib(sum(disk))} in all (free: {_gib(free)})")
    if parts:
        text = "; ".join(parts)
        yield f"{text[0].upper()}{text[1:]}."


def _stated(plan: Plan, known: Mapping[RunKey, Cost]) -> Iterator[str]:
    """Name the GPU-hours that the suite states for classifiers whose cost is unknown here."""
    left = [run for run in runs_left(plan) if run.key.task == SOURCE and run.key not in known]
    hours = [run.row.gpu_hours for run in left if run.row.gpu_hours is not None]
    if not hours or plan.selection.budget == "smoke":
        return
    length = " at full length" if plan.selection.budget == "short" else ""
    yield (
        f"GPU-hours of {len(hours)} of the {len(left)} classifiers of unknown cost{length}: about {sum(hours):,.0f}, "
        "as the suite states them."
    )


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}"


def _gib(number: int) -> str:
    return f"{number / _GIB:.1f} GiB"
