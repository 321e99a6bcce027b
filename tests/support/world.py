"""A small repository and suite for tests of the harness, run with fake tasks."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.plan import closure, identity
from benchmarks.plan.compute import Compute
from benchmarks.plan.document import PLAN_FILE, added_rows, read_plan
from benchmarks.plan.machine import Slots
from benchmarks.plan.plan import Plan, PlannedRun, make_plan
from benchmarks.plan.preflight import DataState, available_tricks
from benchmarks.plan.store import RunKey
from benchmarks.plan.timings import Timings
from benchmarks.run.command import task_command
from benchmarks.run.runner import Outcome, Runner
from benchmarks.suite.load import build_row
from benchmarks.suite.model import Dataset, Row, Suite, TaskSetup
from benchmarks.suite.select import Selection, select
from contract import files
from contract.result import SCHEMA_VERSION, Result
from contract.tasks import TASKS

# The tasks and datasets of a small suite file.
SUITE_TASKS = """
stages = dict(
    cls=dict(config="cls_train/configs/mini.py", data="cls"),
    det=dict(config="det/configs/mini.py", data="det"),
    seg=dict(config="seg/configs/mini.py", data="seg"),
)
datasets = dict(
    cls=dict(kind="imagefolder", path="cls"),
    det=dict(kind="voc", path="det"),
    seg=dict(kind="ade20k", path="seg"),
)
""".strip()
FAKE_TASK = Path(__file__).with_name("fake_task.py")

SOURCES = {
    "backbones/__init__.py": "from backbones.resnet import WIDTH\n",
    "backbones/__main__.py": "from backbones import importing\n",
    "backbones/importing.py": "TENSORS = 1\n",
    "backbones/resnet.py": '"""Nets."""\nWIDTH = 64\n',
    "engine/__init__.py": "",
    "engine/run.py": "import backbones\nfrom engine import seeding\nLOSS = 1\n",
    "engine/seeding.py": "DRAWS = 1\n",
    "engine/describe.py": "import backbones\n",
    "cls_train/__init__.py": "",
    "cls_train/train.py": "from cls_train import data, transforms\nfrom engine.run import LOSS\nEPOCHS = 1\n",
    "cls_train/data.py": "CROP = 1\n",
    "cls_train/transforms.py": "FLIP = 1\n",
    "cls_train/configs/base.py": "lr = 0.1\n",
    "cls_train/configs/mini.py": "_base_ = 'base.py'\nepochs = 8\n",
    "cls_train/configs/recipes/standard.py": "tricks = []\n",
    "cls_train/configs/recipes/efficient.py": "tricks = ['warmup']\n",
    "cls_train/configs/tricks/warmup.py": "warmup = True\n",
    "cls_train/configs/tricks/cosine.py": "schedule = 'cosine'\n",
    "det/__init__.py": "",
    "det/train.py": "import engine.run\n",
    "det/configs/mini.py": "_base_ = ['mmdet::pascal_voc/faster-rcnn.py']\n",
    "seg/__init__.py": "",
    "seg/train.py": "from engine import run\n",
    "seg/configs/mini.py": "_base_ = 'mmseg::fcn/fcn.py'\n",
}


def make_row(name: str, backbone: str, **keys: Any) -> Row:
    """Make a row from the keys of a suite file, in either spelling."""
    return build_row({"name": name, "backbone": backbone, **keys})


ROWS = (
    make_row("scratch", "resnet10_b", pretrain=False),
    make_row("standard", "resnet10_b", recipe="standard"),
    make_row("tricks", "resnet10_d", recipe="efficient", tricks=["cosine"]),
)


def make_root(folder: Path) -> Path:
    """Write a repository with the files that identities cover."""
    for name, text in SOURCES.items():
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return folder


def make_suite(rows: tuple[Row, ...] = ROWS, seeds: tuple[int, ...] = (0,)) -> Suite:
    """Make a suite of three tasks."""
    folders = {"cls": "cls_train", "det": "det", "seg": "seg"}
    datasets = {
        "cls": Dataset(kind="imagefolder", path=Path("/data/cls")),
        "det": Dataset(kind="voc", path=Path("/data/det")),
        "seg": Dataset(kind="ade20k", path=Path("/data/seg")),
    }
    return Suite(
        name="tiny",
        title="Tiny",
        description="",
        tasks={
            name: TaskSetup(config=f"{folder}/configs/mini.py", data=name)
            for name, folder in folders.items()
        },
        datasets=datasets,
        smoke_datasets=datasets,
        seeds=seeds,
        rows=rows,
    )


def make_data(**problems: str) -> dict[str, DataState]:
    """Make the state of the three datasets; those named have the problem given."""
    return {
        name: DataState(Path("/data", name), None, problems[name])
        if name in problems
        else DataState(Path("/data", name), f"fingerprint of {name}")
        for name in ("cls", "det", "seg")
    }


def make_results() -> dict[str, Any]:
    """Make a result for each task, as `contract.result` writes it."""
    return {
        name: Result.model_validate(
            {
                "schema_version": SCHEMA_VERSION,
                "status": "completed",
                "task": name,
                "identity": None,
                "config": "mini",
                "backbone": "",
                "recipe": None,
                "tricks": (),
                "budget": "full",
                "seed": 0,
                "metrics": tuple(
                    {"name": metric.name, "value": 50.0}
                    for metric in task.metrics
                    if metric.required or metric.name == "top5"
                ),
                "protocol": {"metric": "any"},
                "data": {
                    "classes": 2,
                    "train_images_total": 4,
                    "train_images_used": 4,
                    "test_images_total": 2,
                    "test_images_used": 2,
                },
                "model": {"backbone_parameters": 10, "parameters": 20},
                "load_report": None,
                "code": {"git_sha": None, "dirty": None},
                "packages": {"torch": "2"},
                "python": "3.11",
                "device": {"type": "cpu", "name": "cpu", "count": 1},
                "precision": {"dtype": "float32", "reason": "fake"},
                "wall_seconds": 2.0,
                "train_images_per_second": 2.0,
                "train_images_per_cpu_second": 1.5,
                "peak_memory_mib": 512.0,
                "artifacts": {},
            }
        ).model_dump(mode="json", by_alias=True)
        for name, task in TASKS.items()
    }


def answer(specs: Sequence[str]) -> dict[str, Any]:
    """Answer as `engine.describe` does."""
    return {
        "device": "cpu",
        "dtypes": {"auto": "float32", "fp32": "float32", "bf16": "bfloat16", "fp16": None},
        "backbones": {
            spec: {"parameters": 1_000_000}
            if spec.startswith("resnet")
            else {"error": f"unknown backbone {spec!r}"}
            for spec in specs
        },
    }


@dataclass
class RecordingDisplay:
    """Records what it should show."""

    lines: list[str] = field(default_factory=list)
    reports: list[Mapping[str, Any]] = field(default_factory=list)
    on_start: Callable[[RunKey], None] | None = None

    def started(self, key: RunKey, note: str) -> None:
        self.lines.append(f"{key}: {note}")
        if self.on_start is not None:
            self.on_start(key)

    def progressed(self, key: RunKey, report: Mapping[str, Any]) -> None:
        self.reports.append(report)

    def warned(self, key: RunKey, text: str) -> None:
        self.lines.append(f"{key}: warning: {text}")

    def ended(self, key: RunKey, text: str, *, good: bool) -> None:
        self.lines.append(f"{key}: {text}")

    def close(self) -> None:
        pass


@dataclass
class World:
    """A repository, a suite and a run folder in a temporary folder.

    Args:
        folder: The temporary folder.
        behaviour: How tasks behave, by `row/task` or `row/task/seed-N`; else they do well.
    """

    folder: Path
    suite: Suite = field(default_factory=make_suite)
    selection: Selection = field(default_factory=Selection)
    data: dict[str, DataState] = field(default_factory=make_data)
    behaviour: dict[str, str] = field(default_factory=dict)
    display: RecordingDisplay = field(default_factory=RecordingDisplay)
    compute: Compute = field(default_factory=lambda: Compute("cpu", answer([])["dtypes"]))

    def __post_init__(self) -> None:
        self.root = make_root(self.folder / "repository")
        self.run_dir = self.folder / "run"
        self.journal = self.folder / "journal.txt"
        self.results = self.folder / "results.json"
        if not self.results.exists():
            self.results.write_text(json.dumps(make_results()), encoding="utf-8")

    def table(self) -> Suite:
        """Return the whole table's suite, as the command would."""
        rows, seeds = [], ()
        if (self.run_dir / PLAN_FILE).is_file():
            earlier = read_plan(self.run_dir)
            rows, seeds = added_rows(earlier, self.root), earlier.seeds
        tricks = available_tricks(self.root)
        return select(self.suite, self.selection, tricks, earlier_rows=rows, earlier_seeds=seeds)

    def plan(self) -> Plan:
        """Plan as the command would."""
        forget_digests()
        return make_plan(
            self.table(),
            self.selection,
            self.data,
            root=self.root,
            run_dir=self.run_dir,
            compute=self.compute,
        )

    def command(self, plan: Plan, run: PlannedRun) -> list[str]:
        """Return the command line of a fake task."""
        key = run.key
        name = f"{key.row}/{key.task}/seed-{key.seed}"
        behaviour = self.behaviour.get(name) or self.behaviour.get(f"{key.row}/{key.task}", "well")
        words = [str(self.journal), behaviour, name, str(self.results)]
        script = [sys.executable, "-I", "-S", str(FAKE_TASK), *words]
        return [*script, *task_command(plan, run)[3:]]

    def runner(self, slots: Slots | None = None, **options: Any) -> Runner:
        """Plan, and return the runner of the plan."""
        return Runner(
            self.plan(),
            slots or Slots(4, 1, (), "test"),
            self.display,
            Timings(self.folder / "timings.json"),
            build_command=self.command,
            **options,
        )

    def run(self, slots: Slots | None = None, **options: Any) -> dict[str, Outcome]:
        """Plan and run; return outcomes by `row/task` and seed."""
        outcomes = self.runner(slots, **options).run()
        return {name_of(outcome.key): outcome for outcome in outcomes}

    def view(self, name: str) -> Path:
        """Return the folder of `row/task`, seed 0, in the run folder."""
        return self.run_dir / "cells" / name / "seed-0"

    def stored(self, name: str) -> Path:
        """Return the work dir of `row/task`, seed 0, in the store."""
        row, task = name.split("/")
        plan = self.plan()
        return plan.work_dir(plan.find(RunKey(row, task, 0)))

    def journal_lines(self, beginning: str = "") -> list[str]:
        """Return what the tasks wrote down."""
        if not self.journal.exists():
            return []
        lines = self.journal.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.startswith(beginning)]

    def edit(self, name: str, text: str) -> None:
        """Change a file of the repository."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def name_of(key: RunKey) -> str:
    """Return `row/task`, with the seed unless it is 0."""
    return f"{key.row}/{key.task}" + (f"/{key.seed}" if key.seed else "")


def forget_digests() -> None:
    """Forget the digests of files, which a process reads once."""
    for function in (
        identity.config_chain,
        identity._config_digest,
        identity.task_code,
        identity.module_code,
        closure.import_closure,
        closure._imports,
        closure._files_of,
        closure.source_digest,
        files._file_sha256,
    ):
        function.cache_clear()


def wait_for(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Wait until a condition holds and return its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def pids(lines: list[str]) -> list[int]:
    """Return the process ids in lines of the journal."""
    return [int(line.rpartition("pid=")[2]) for line in lines if "pid=" in line]


def clean_environment() -> dict[str, str]:
    """Return this process's environment without a harness's variables."""
    return {key: value for key, value in os.environ.items() if not key.startswith("TRICKBENCH")}
