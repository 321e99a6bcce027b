"""The hardware that times belong to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from benchmarks.plan.compute import Compute
from benchmarks.plan.machine import cpu_model
from contract.machine import cpu_cores
from contract.settings import package_versions


@dataclass(frozen=True)
class Hardware:
    """What decides how long a run takes, besides the run.

    Attributes:
        cpu: The CPU's model.
        cores: Its usable cores.
        gpus: Models of the GPUs that runs use; empty on a CPU.
        threads: Threads of a run.
        torch: The version of torch.
    """

    cpu: str
    cores: int
    gpus: tuple[str, ...]
    threads: int
    torch: str

    @property
    def key(self) -> str:
        """A short digest."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]

    def __str__(self) -> str:
        where = " and ".join(self.gpus) if self.gpus else self.cpu
        return f"{where}, {self.threads} thread{'s' if self.threads > 1 else ''} a run"


def hardware_of(compute: Compute, threads: int) -> Hardware:
    """Return the hardware of this machine.

    Args:
        compute: The device of the runs.
        threads: Threads of a run.
    """
    gpus = {gpu.name for gpu in compute.gpus if gpu.left_out is None}
    torch = package_versions().get("torch", "")
    return Hardware(cpu_model(), cpu_cores(), tuple(sorted(gpus)), threads, torch)
