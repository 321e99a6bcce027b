"""The Slurm jobs of a run folder: which run each trains, and which of them still wait or run.

The queue is asked only to submit nothing twice. Whether a run is done is read from its result, never from Slurm's
accounting, which clusters purge or do not have.
"""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plan.claims import CLAIMS, hold
from contract.files import read_json, write_json

FOLDER = "slurm"
_JOBS_FILE = "jobs.json"
_QUERY_SECONDS = 30


@dataclass(frozen=True)
class Alive:
    """Jobs that wait or run.

    Attributes:
        jobs: The jobs by the folder of their run; all recorded ones if the queue did not answer.
        problem: Why the queue did not answer; empty if it did.
    """

    jobs: Mapping[str, str]
    problem: str = ""


class Jobs:
    """The jobs of a run folder.

    Args:
        run_dir: The run folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self.folder = run_dir / FOLDER
        self._file = self.folder / _JOBS_FILE
        self._claim = run_dir / CLAIMS / "jobs"

    @property
    def recorded(self) -> Mapping[str, str]:
        """The last job of each run, by the run's folder."""
        return {path: str(job) for path, job in (read_json(self._file) or {}).items()}

    def record(self, jobs: Mapping[str, str]) -> None:
        """Store new jobs."""
        with hold(self._claim):
            write_json(self._file, {**self.recorded, **jobs})

    def alive(self) -> Alive:
        """Ask Slurm which of the jobs wait or run."""
        recorded = self.recorded
        if not recorded:
            return Alive({})
        queued = queue()
        if isinstance(queued, str):
            return Alive(recorded, queued)
        return Alive({path: job for path, job in recorded.items() if job in queued})


def queue() -> frozenset[str] | str:
    """Return the jobs of this user that wait or run, as `12` or `12_3`; or why they are unknown."""
    # -r: one line for each element of an array. Asking for single jobs fails once Slurm has forgotten one of them.
    command = ["squeue", "--noheader", "-r", "--user", getpass.getuser(), "--format", "%i"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_QUERY_SECONDS
        )
    except FileNotFoundError:
        return "squeue is not on this machine"
    except subprocess.TimeoutExpired:
        return f"squeue did not answer within {_QUERY_SECONDS} s"
    if answer.returncode != 0:
        lines = answer.stderr.strip().splitlines() or ["no message"]
        return f"squeue failed: {lines[-1]}"
    return frozenset(answer.stdout.split())
