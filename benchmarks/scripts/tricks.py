"""The catalogue of tricks: source, cost and effect of each.

Commands:
    python -m benchmarks.scripts.tricks speed [--iterations N] [--rounds N]   # cost: docs/results/tricks/speed.json
    python -m benchmarks run tricks-mini                                      # effect, on the embedded data
    python -m benchmarks.scripts.tricks write [--run-dir runs/tricks-mini …]  # docs/tricks.md

Without `--run-dir`, the page takes the effects from the tables that are stored under docs/results/tricks.

Cost is images per second of CPU time in training, compared with the plain recipe: one thread that loads, augments and
trains. The clock would also count other programs on a shared machine. Their effect on caches and on a core's other half
is in the CPU time too, and changes within seconds. A trick and the plain recipe therefore share one core and take turns
by milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.results.read import read_run
from benchmarks.scripts.tricks_page import (
    Effects,
    catalogue,
    effects_of_run,
    effects_of_table,
    format_page,
)
from contract.errors import UserError
from contract.files import write_json
from contract.result import CHECKPOINT_FILE, RESULT_FILE
from contract.settings import ROOT
from contract.tasks import SOURCE, TASKS
from datasets import miniworld

PAGE = ROOT / "docs" / "tricks.md"
MEASURED = ROOT / "docs" / "results" / "tricks"
SPEEDS = MEASURED / "speed.json"
# Of a row in both, the last one counts.
TABLES = (MEASURED / "effect" / "table.csv", MEASURED / "effect-later" / "table.csv")
# Images of 299 pixels show nothing on the embedded data of 64 pixels.
LEFT_OUT = ("image_299",)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scripts.tricks", description=__doc__
    )
    commands = parser.add_subparsers(dest="command", required=True)
    speed = commands.add_parser("speed", help="measure what each classification trick costs")
    speed.add_argument("--iterations", type=int, default=24)
    speed.add_argument("--rounds", type=int, default=1)
    write = commands.add_parser("write", help="write docs/tricks.md")
    write.add_argument(
        "--run-dir",
        type=Path,
        nargs="+",
        default=[],
        help="runs of tricks-mini; if several have a row, the last one counts (default: the stored tables)",
    )
    options = parser.parse_args(arguments)
    try:
        if options.command == "speed":
            measure_speed(options.iterations, options.rounds)
        else:
            runs = [effects_of_run(read_run(folder)) for folder in options.run_dir]
            effects = [*(() if runs else stored_effects()), *runs]
            PAGE.write_text(format_page(catalogue(), read_speeds(), effects), encoding="utf-8")
            print(f"written: {PAGE.relative_to(ROOT)}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def read_speeds() -> dict[str, Any] | None:
    """Return what `speed` has stored; None if nothing."""
    return json.loads(SPEEDS.read_text(encoding="utf-8")) if SPEEDS.exists() else None


def stored_effects() -> list[Effects]:
    """Return the effects of the tables that are stored with the docs."""
    return [effects_of_table(path) for path in TABLES]


def measure_speed(iterations: int, rounds: int) -> None:
    """Train with each classification trick and, on the same core, with the plain recipe; store the ratios.

    Raises:
        UserError: A training fails.
    """
    data = miniworld.prepare("mini-smoke", ROOT / "data" / "miniworld") / "cls"
    names = [trick.name for trick in catalogue()[SOURCE] if trick.name not in LEFT_OUT]
    with tempfile.TemporaryDirectory() as folder:
        teacher = Path(folder) / "teacher"
        _end(_begin("resnet26_d-w32", [], data, teacher, 2, 0), teacher)
        student = ["--teacher", str(teacher / CHECKPOINT_FILE)]

        def pair(numbered: tuple[int, str]) -> tuple[str, dict[str, Any], float]:
            number, name = numbered
            core = free.get()
            words = ["--trick", name, *(student if "distillation" in name else [])]
            places = [Path(folder) / f"{number}-{part}" for part in ("plain", "trick")]
            begun = [
                _begin("resnet10_b-w24", own, data, place, iterations, core)
                for own, place in zip(([], words), places, strict=True)
            ]
            plain, trick = (
                _end(process, place) for process, place in zip(begun, places, strict=True)
            )
            free.put(core)
            ratio = trick["train_images_per_cpu_second"] / plain["train_images_per_cpu_second"]
            print(f"{name}: {ratio:.2f}", flush=True)
            return name, plain, ratio

        cores = sorted(os.sched_getaffinity(0))
        free: queue.Queue[int] = queue.Queue()
        for core in cores:
            free.put(core)
        with ThreadPoolExecutor(len(cores)) as pool:
            found = list(pool.map(pair, enumerate(names * rounds)))
    speeds = [plain["train_images_per_cpu_second"] for _, plain, _ in found]
    content = {
        "backbone": "resnet10_b-w24",
        "teacher": "resnet26_d-w32",
        "batch": 32,
        "iterations": iterations,
        "rounds": rounds,
        "plain_images_per_cpu_second": round(statistics.median(speeds), 1),
        "ratios": {name: [round(r, 3) for n, _, r in found if n == name] for name in names},
        **{key: found[0][1][key] for key in ("device", "packages", "precision")},
    }
    write_json(SPEEDS, content)
    print(f"written: {SPEEDS.relative_to(ROOT)}")


def _begin(
    backbone: str, words: Sequence[str], data: Path, work_dir: Path, iterations: int, core: int
) -> subprocess.Popen[str]:
    budget = {"smoke": dict(iterations=iterations, batch_size=32, test_images=1)}
    command = [
        *(sys.executable, "-m", TASKS[SOURCE].module, "mini", "--backbone", backbone),
        *("--data", str(data), "--work-dir", str(work_dir), "--budget", "smoke"),
        *("--set", f"budgets={budget}", *words),
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    os.sched_setaffinity(process.pid, {core})
    return process


def _end(process: subprocess.Popen[str], work_dir: Path) -> dict[str, Any]:
    _, errors = process.communicate()
    if process.returncode != 0:
        raise UserError(f"`{process.args}` failed:\n{errors[-2000:]}")
    return json.loads((work_dir / RESULT_FILE).read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
