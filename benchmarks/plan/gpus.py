"""The GPUs that a command may use, and which of them other processes occupy.

What occupies a GPU changes at any time, so it is never cached with the other facts about the machine.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.plan.compute import Compute, Gpu
from benchmarks.suite.select import Selection
from contract.errors import UserError
from contract.machine import nvidia_smi

GIB = 1024**3
# A desktop takes up to this much of a small card, and a card without any process shows some hundred MiB.
_SPARE_BYTES, _SPARE_SHARE = 1.5 * GIB, 0.1
# A process can compute all the time in little memory.
_BUSY_PERCENT = 50
# How long an answer holds, for free and for occupied GPUs. An occupied one is looked at again soon, because the driver
# may need a moment to free the memory of a process that has ended.
_FREE_SECONDS, _OCCUPIED_SECONDS = 10.0, 3.0


@dataclass(frozen=True)
class Use:
    """How much of a GPU is in use.

    Attributes:
        used: Memory in use, in bytes.
        total: Its memory, in bytes.
        percent: Share of the last second in which it computed; None if unknown, as for MIG instances.
    """

    used: float
    total: float
    percent: int | None = None

    @property
    def reason(self) -> str | None:
        """Why no run should start on it; None if it is free. Right only while none of our own runs is on it."""
        if self.used > max(_SPARE_BYTES, _SPARE_SHARE * self.total):
            return f"{self.used / GIB:.0f} of {self.total / GIB:.0f} GiB used by other processes"
        if self.percent is not None and self.percent >= _BUSY_PERCENT:
            return f"other processes compute on it ({self.percent}%)"
        return None


def ask_use(root: Path = Path("/")) -> dict[str, Use]:
    """Return the use of the GPUs, by index in the order of the PCI bus and by UUID; empty if it is unknown.

    Args:
        root: The folder that contains `sys`.
    """
    text = nvidia_smi("-q", "-x")
    found = dict(_nvidia(text)) if text else {}
    return found or dict(_amd(root))


def _nvidia(text: str) -> Iterator[tuple[str, Use]]:
    """Read the XML of `nvidia-smi -q -x`; it numbers MIG instances as `nvidia-smi -L` does, which has their UUIDs."""
    try:
        log = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return
    instances: dict[tuple[str, str], str] = {}
    if log.find("gpu/mig_devices/mig_device") is not None:
        instances = dict(_instances(nvidia_smi("-L")))
    for index, gpu in enumerate(log.iter("gpu")):
        uuid = (gpu.findtext("uuid") or "").strip()
        use = _use(gpu, gpu.findtext("utilization/gpu_util"))
        if use is not None:
            yield str(index), use
            yield uuid, use
        for part in gpu.iterfind("mig_devices/mig_device"):
            name, use = instances.get((uuid, (part.findtext("index") or "").strip())), _use(part)
            if name is not None and use is not None:
                yield name, use


def _use(node: ElementTree.Element, percent: str | None = None) -> Use | None:
    used, total = (_number(node.findtext(f"fb_memory_usage/{name}")) for name in ("used", "total"))
    if used is None or total is None:
        return None
    mib = 1024**2
    return Use(used * mib, total * mib, _number(percent))


def _number(text: str | None) -> int | None:
    """Return the number in a text such as `61440 MiB`; None for `N/A`."""
    found = re.match(r"\s*(\d+)", text or "")
    return int(found[1]) if found else None


def _instances(text: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the UUID of each MIG instance in the output of `nvidia-smi -L`, by its GPU's UUID and its number there."""
    gpu = ""
    for line in text.splitlines():
        if found := re.match(r"GPU \d+: .+ \(UUID: (GPU-[^)]+)\)", line):
            gpu = found[1]
        elif found := re.match(r"\s+MIG \S+\s+Device\s+(\d+): \(UUID: (MIG-[^)]+)\)", line):
            yield (gpu, found[1]), found[2]


def _amd(root: Path) -> Iterator[tuple[str, Use]]:
    """Read the kernel's files; HIP numbers the GPUs as the kernel does, unless ROCR_VISIBLE_DEVICES is set."""
    if "ROCR_VISIBLE_DEVICES" in os.environ:
        return
    index = 0
    nodes = (root / "sys/class/kfd/kfd/topology/nodes").glob("[0-9]*/properties")
    for path in sorted(nodes, key=lambda path: int(path.parent.name)):
        facts = dict(line.split()[:2] for line in _text(path).splitlines() if " " in line)
        if facts.get("simd_count", "0") == "0":
            continue  # a processor
        device = root / f"sys/class/drm/renderD{facts.get('drm_render_minor')}/device"
        used, total, percent = (
            _number(_text(device / name))
            for name in ("mem_info_vram_used", "mem_info_vram_total", "gpu_busy_percent")
        )
        if used is not None and total is not None:
            yield str(index), Use(used, total, percent)
        index += 1


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


class Watch:
    """Tells which GPUs other processes occupy, from answers that are at most some seconds old.

    Args:
        gpus: The GPUs.
        ask: Replaces `ask_use`.
        clock: Replaces `time.monotonic`.
    """

    def __init__(
        self,
        gpus: Iterable[Gpu],
        ask: Callable[[], Mapping[str, Use]] = ask_use,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gpus = {gpu.id: gpu for gpu in gpus}
        self._ask, self._clock = ask, clock
        self._until = -math.inf
        self._reasons: dict[str, str] = {}
        # In how many answers, one after the other, a GPU was occupied.
        self._times: Counter[str] = Counter()
        self._reported: set[str] = set()

    def occupied(self, without_own: Iterable[str]) -> dict[str, str]:
        """Return the GPUs that other processes occupy, with the reason.

        Args:
            without_own: GPUs on which no run of this command is; only these can be judged.
        """
        judged = [gpu for gpu in without_own if gpu in self._gpus]
        if judged and self._clock() >= self._until:
            self._look(judged)
        return {gpu: self._reasons[gpu] for gpu in judged if gpu in self._reasons}

    def _look(self, judged: Sequence[str]) -> None:
        use = self._ask()
        found = {name: _find(use, self._gpus[name]) for name in judged}
        self._reasons = {name: one.reason for name, one in found.items() if one and one.reason}
        self._times = Counter({name: self._times[name] + 1 for name in self._reasons})
        self._reported &= set(self._reasons)
        seconds = _OCCUPIED_SECONDS if self._reasons else _FREE_SECONDS
        self._until = self._clock() + seconds

    def is_news(self, gpu: str, least_times: int = 2) -> bool:
        """Return whether to report that a GPU is occupied: once, and only if that lasts."""
        news = self._times[gpu] >= least_times and gpu not in self._reported
        if news:
            self._reported.add(gpu)
        return news

    def forget(self) -> None:
        """Ask again next time, because the last answer may include a run of this command that has ended."""
        self._until = -math.inf


def _find(use: Mapping[str, Use], gpu: Gpu) -> Use | None:
    name = gpu.uuid or gpu.id
    if name in use:
        return use[name]
    # CUDA_VISIBLE_DEVICES takes the beginning of a UUID.
    return next(
        (one for key, one in use.items() if not name.isdigit() and key.startswith(name)), None
    )


def choose_gpus(compute: Compute, named: Sequence[str] | None) -> tuple[str, ...]:
    """Return the GPUs that a command may use: those of `--gpus`, or all that can train the same.

    Raises:
        UserError: A named GPU does not exist, or cannot train as the first one does.
    """
    if named is None:
        return compute.gpu_ids
    given = f"--gpus {','.join(named)} was given"
    if compute.device == "cpu":
        raise UserError(f"{given}, and runs train on the CPU ({compute.reason}); leave it out.")
    chosen = []
    for name in named:
        fitting = [gpu for gpu in compute.gpus if gpu.id == name]
        if not fitting and not name.isdigit():
            fitting = [
                gpu for gpu in compute.gpus if gpu.id.startswith(name) or gpu.uuid.startswith(name)
            ]
        if len(fitting) != 1:
            known = ", ".join(f"{gpu.id} ({gpu.name})" for gpu in compute.gpus)
            raise UserError(f"{given}; the GPUs of this machine are {known}. Name them so.")
        if fitting[0].left_out is not None:
            raise UserError(
                f"{given}, and GPU {name} cannot be used: {fitting[0].left_out}. Leave it out, or hide the others with "
                f"{compute.visible_variable}."
            )
        chosen.append(fitting[0].id)
    return tuple(dict.fromkeys(chosen))


def whole(gpus: Iterable[str]) -> list[str]:
    """Return the GPUs that can train a run together; NCCL cannot join MIG instances."""
    return [gpu for gpu in gpus if not gpu.startswith("MIG-")]


def check_processes(compute: Compute, gpus: Sequence[str], selection: Selection) -> None:
    """Check that a run gets the GPUs that it asks for.

    Raises:
        UserError: There are not enough GPUs, or runs train on the CPU.
    """
    most = max(selection.processes, selection.teacher_processes or 1)
    if most == 1 or (compute.device == "cpu" and selection.gloo):
        return
    given = f"--gpus-per-run {most} was given"
    if compute.device == "cpu":
        raise UserError(f"{given}, and runs train on the CPU ({compute.reason}); leave it out.")
    found = whole(gpus)
    if len(found) < most:
        parts = len(gpus) - len(found)
        also = f" and {parts} MIG instances, which cannot train a run together" if parts else ""
        raise UserError(
            f"{given}, and runs may use {len(found)} whole GPU(s){also}; expected at most as many as there are."
        )
