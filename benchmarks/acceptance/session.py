"""What all checks share: the device, the generated data, the temporary folder, and how commands are run."""

from __future__ import annotations

import functools
import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.acceptance.execute import Outcome, execute
from contract.acceptance import Line, parse_facts, parse_line
from contract.settings import PRECISIONS
from contract.tasks import TASKS

# The data of a task by its first layout: folders of a miniworld.
_FOLDERS = {"imagefolder": "cls", "voc": "VOCdevkit", "ade20k": "ADEChallengeData2016"}
TASK_LIMIT_SECONDS = 150.0


@dataclass(frozen=True)
class Case:
    """A task with one of its small configs.

    Attributes:
        task: Its name in `contract.tasks.TASKS`.
        config: Such as `mini`.
    """

    task: str
    config: str

    def __str__(self) -> str:
        return self.task if self.config == "mini" else f"{self.task} {self.config}"


def cases(root: Path) -> list[Case]:
    """Return every task with each of its configs for the generated data, such as `mini.py` and `mini_c4.py`."""
    return [
        Case(task.name, path.stem)
        for task in TASKS.values()
        for path in sorted((root / task.configs).glob("mini*.py"))
    ]


@dataclass
class Session:
    """The state of one acceptance.

    Attributes:
        root: The repository.
        folder: A temporary folder for everything that is written.
        device: `cpu` or `cuda`: the device that is checked.
        data: A generated miniworld.
        cores: CPU cores of this process.
        facts: What `engine.acceptance device` found; empty if it failed.
        execute: Runs a command; tests replace it.
        trained: Work dirs of finished trainings, by case and precision.
    """

    root: Path
    folder: Path
    device: str
    data: Path
    cores: int
    facts: dict[str, Any] = field(default_factory=dict)
    execute: Callable[..., Outcome] = execute
    trained: dict[tuple[Case, str], Path] = field(default_factory=dict)
    _number: Iterator[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def jobs(self) -> int:
        """Number of checks at a time; most of a short check is the start of Python, on one core."""
        return min(2, self.cores)

    @property
    def gpus(self) -> int:
        """Number of GPUs that torch can use; 0 on a CPU."""
        return len(self.facts.get("gpus", ())) if self.device == "cuda" else 0

    @functools.cached_property
    def precisions(self) -> tuple[str, ...]:
        """Precisions that the device supports, float32 first, and `auto` left out."""
        dtypes = self.facts.get("dtypes", {"fp32": "float32"})
        named = [name for name in PRECISIONS if name != "auto" and dtypes.get(name)]
        return tuple(sorted(named, key=lambda name: name != "fp32"))

    def place(self, name: str) -> Path:
        """Return a new path in the temporary folder."""
        with self._lock:
            return self.folder / f"{next(self._number):03d}-{name.replace(' ', '-')}"

    def run(
        self,
        command: Sequence[str],
        *,
        device: str | None = None,
        limit_seconds: float = TASK_LIMIT_SECONDS,
        threads: int | None = None,
        **options: Any,
    ) -> Outcome:
        """Run a command in the repository.

        Args:
            command: The command line.
            device: `cpu` hides the GPUs from it; None means the device that is checked.
            limit_seconds: Kill it after this time.
            threads: Threads of torch; None shares the cores among the concurrent checks.
            options: Further arguments of `execute`.
        """
        environment = {"OMP_NUM_THREADS": str(threads or max(1, self.cores // self.jobs))}
        if (device or self.device) == "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = ""
        log = self.place("log").with_suffix(".txt")
        return self.execute(
            command,
            log=log,
            cwd=self.root,
            limit_seconds=limit_seconds,
            environment=environment,
            **options,
        )

    def task_command(
        self,
        case: Case,
        work_dir: Path,
        *options: str,
        data: Path | None = None,
        launcher: Sequence[str] = (),
        budget: str = "smoke",
    ) -> list[str]:
        """Return the command line of a task.

        Args:
            case: The task and its config.
            work_dir: Where it writes.
            options: Further options.
            data: Its dataset; None takes the generated one.
            launcher: Modules of Python that start it, such as torchrun with its options.
            budget: Its budget.
        """
        task = TASKS[case.task]
        return [
            *(sys.executable, *launcher, "-m", task.module, case.config),
            *("--backbone", "resnet10_b-w8", "--data", str(data or self.task_data(case))),
            *("--work-dir", str(work_dir), "--budget", budget, *options),
        ]

    def task_data(self, case: Case) -> Path:
        """Return the folder of a task's generated data."""
        return self.data / _FOLDERS[TASKS[case.task].layouts[0]]

    def ask_engine(
        self, check: str, *options: str, limit_seconds: float = TASK_LIMIT_SECONDS
    ) -> Iterator[Line]:
        """Run a check of `engine.acceptance` and yield its lines; a crash is one more line, which failed."""
        command = [sys.executable, "-m", "engine.acceptance", check, "--json", *options]
        outcome = self.run(command, limit_seconds=limit_seconds, threads=self.cores)
        self._keep_facts(outcome.output)
        lines = list(filter(None, map(parse_line, outcome.output.splitlines())))
        yield from lines
        if outcome.problem is not None:
            yield Line(check=check, found=outcome.problem, expected="an answer", verdict="failed")
        elif not lines:
            found = f"no answer; last line: {outcome.output.strip()[-200:]}"
            yield Line(check=check, found=found, expected="an answer", verdict="failed")

    def _keep_facts(self, output: str) -> None:
        for line in output.splitlines():
            found = parse_facts(line)
            if found is not None:
                self.facts = found
