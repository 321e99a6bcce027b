"""A small repository and suite for tests of the harness, and runs of it with faked stages."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import Slots
from benchmarks.plan import Cell, Plan, make_plan
from benchmarks.preflight import DataState, available_tricks
from benchmarks.run import Outcome, Runner, stage_command
from benchmarks.run_folder import CellKey
from benchmarks.selection import Selection, select
from benchmarks.suite import Dataset, Row, Stage, Suite
from benchmarks.timings import Timings

FAKE_STAGE = Path(__file__).with_name("fake_stage.py")

SOURCES = {
    "backbones/resnet.py": '"""Nets."""\nWIDTH = 64\n',
    "engine/run.py": "LOSS = 1\n",
    "cls_train/train.py": "EPOCHS = 1\n",
    "cls_train/configs/base.py": "lr = 0.1\n",
    "cls_train/configs/mini.py": "_base_ = 'base.py'\nepochs = 8\n",
    "cls_train/configs/recipes/standard.py": "tricks = []\n",
    "cls_train/configs/recipes/efficient.py": "tricks = ['warmup']\n",
    "cls_train/configs/tricks/warmup.py": "warmup = True\n",
    "cls_train/configs/tricks/cosine.py": "schedule = 'cosine'\n",
    "det/train.py": "",
    "det/configs/mini.py": "_base_ = ['mmdet::pascal_voc/faster-rcnn.py']\n",
    "seg/train.py": "",
    "seg/configs/mini.py": "_base_ = 'mmseg::fcn/fcn.py'\n",
}
ROWS = (
    Row("scratch", "resnet10_b", pretrain=False),
    Row("standard", "resnet10_b", recipe="standard"),
    Row("tricks", "resnet10_d", recipe="efficient", tricks=("cosine",)),
)


def make_root(folder: Path) -> Path:
    """Writes a repository that has just what identities are made of."""
    for name, text in SOURCES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def make_suite(rows: tuple[Row, ...] = ROWS, seeds: tuple[int, ...] = (0,)) -> Suite:
    """Makes a suite of the three stages."""
    folders = {"cls": "cls_train", "det": "det", "seg": "seg"}
    datasets = {
        "cls": Dataset("imagefolder", Path("/data/cls")),
        "det": Dataset("voc", Path("/data/det")),
        "seg": Dataset("ade20k", Path("/data/seg")),
    }
    return Suite(
        name="tiny",
        title="Tiny",
        description="",
        stages={name: Stage(f"{folder}/configs/mini.py", name) for name, folder in folders.items()},
        datasets=datasets,
        smoke_datasets=datasets,
        seeds=seeds,
        rows=rows,
    )


def make_data(**problems: str) -> dict[str, DataState]:
    """Makes the state of the three datasets; those named have the problem given."""
    return {
        name: DataState(Path("/data", name), None, problems[name])
        if name in problems
        else DataState(Path("/data", name), f"fingerprint of {name}")
        for name in ("cls", "det", "seg")
    }


@dataclass
class RecordingDisplay:
    """Remembers what it was told."""

    lines: list[str] = field(default_factory=list)
    reports: list[Mapping[str, Any]] = field(default_factory=list)
    on_start: Callable[[CellKey], None] | None = None

    def started(self, key: CellKey, note: str) -> None:
        self.lines.append(f"{key}: {note}")
        if self.on_start is not None:
            self.on_start(key)

    def progressed(self, key: CellKey, report: Mapping[str, Any]) -> None:
        self.reports.append(report)

    def warned(self, key: CellKey, text: str) -> None:
        self.lines.append(f"{key}: warning: {text}")

    def ended(self, key: CellKey, text: str, *, good: bool) -> None:
        self.lines.append(f"{key}: {text}")

    def close(self) -> None:
        pass


@dataclass
class World:
    """A repository, a suite and a run folder in a temporary folder.

    Args:
        folder: The temporary folder.
        behaviour: How stages behave, by `row/stage` or `row/stage/seed-N`; else they do well.
    """

    folder: Path
    suite: Suite = field(default_factory=make_suite)
    selection: Selection = field(default_factory=Selection)
    data: dict[str, DataState] = field(default_factory=make_data)
    behaviour: dict[str, str] = field(default_factory=dict)
    display: RecordingDisplay = field(default_factory=RecordingDisplay)

    def __post_init__(self) -> None:
        self.root = make_root(self.folder / "repository")
        self.run_dir = self.folder / "run"
        self.journal = self.folder / "journal.txt"

    def plan(self) -> Plan:
        """Plans as the command would."""
        suite = select(self.suite, self.selection, available_tricks(self.root))
        forget_digests()
        return make_plan(suite, self.selection, self.data, root=self.root, run_dir=self.run_dir)

    def command(self, plan: Plan, cell: Cell) -> list[str]:
        """Returns the command line of a fake stage."""
        key = cell.key
        behaviour = self.behaviour.get(f"{key.row}/{key.stage}/seed-{key.seed}")
        behaviour = behaviour or self.behaviour.get(f"{key.row}/{key.stage}", "well")
        arguments = stage_command(plan, cell)[3:]
        script = [sys.executable, "-I", "-S", str(FAKE_STAGE), str(self.journal), behaviour]
        return [*script, *arguments]

    def runner(self, slots: Slots | None = None, **options: Any) -> Runner:
        """Plans, and returns what would run the plan."""
        return Runner(
            self.plan(),
            slots or Slots(4, 1, (), "test"),
            self.display,
            Timings(self.folder / "timings.json"),
            build_command=self.command,
            **options,
        )

    def run(self, slots: Slots | None = None, **options: Any) -> dict[str, Outcome]:
        """Plans and runs; returns outcomes by `row/stage` and seed."""
        outcomes = self.runner(slots, **options).run()
        return {name_of(outcome.key): outcome for outcome in outcomes}

    def work_dir(self, name: str) -> Path:
        """Returns the work dir of `row/stage`, seed 0."""
        return self.run_dir / "cells" / name / "seed-0"

    def journal_lines(self, beginning: str = "") -> list[str]:
        """Returns what the stages wrote down."""
        if not self.journal.exists():
            return []
        lines = self.journal.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.startswith(beginning)]

    def edit(self, name: str, text: str) -> None:
        """Changes a file of the repository."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def name_of(key: CellKey) -> str:
    """Returns `row/stage`, with the seed unless it is 0."""
    return f"{key.row}/{key.stage}" + (f"/{key.seed}" if key.seed else "")


def forget_digests() -> None:
    """Forgets the digests of files, which a process reads once."""
    from benchmarks import identity
    from contract import files

    for function in (
        identity.config_chain,
        identity.code_digest,
        identity.source_digest,
        files._file_sha256,
    ):
        function.cache_clear()


def wait_for(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Waits until a condition holds and returns its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def is_alive(pid: int) -> bool:
    """Tells whether a process runs; one that only waits to be collected does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def pids(lines: list[str]) -> list[int]:
    """Returns the process ids in lines of the journal."""
    return [int(line.rpartition("pid=")[2]) for line in lines if "pid=" in line]


def clean_environment() -> dict[str, str]:
    """Returns this process's environment without what a harness may have put there."""
    return {key: value for key, value in os.environ.items() if not key.startswith("TRICKBENCH")}
