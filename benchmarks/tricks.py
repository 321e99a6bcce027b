"""The catalogue of tricks: what each is, where it comes from, what it costs and what it does.

Commands:
    python -m benchmarks.tricks speed [--iterations N] [--rounds N]   # cost; writes docs/results/tricks/speed.json
    python -m benchmarks run tricks-mini                              # effect, on the embedded data
    python -m benchmarks.tricks write [--run-dir runs/tricks-mini …]  # docs/tricks.md

Cost is images per second of CPU time in training against the plain recipe: one thread that loads, augments and trains.
The clock would also count what others do on a shared machine. What they do to caches and to a core's other half is in
the CPU time too, and changes within seconds: a trick and the plain recipe share one core and take turns by
milliseconds.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.datasets import miniworld
from benchmarks.plan.preflight import names_in
from benchmarks.results.read import RunFolder, metric_values, read_run
from benchmarks.results.statistics import aggregate
from contract.errors import UserError
from contract.tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "tricks.md"
SPEEDS = ROOT / "docs" / "results" / "tricks" / "speed.json"
PLAIN = "plain"
FIELDS = ("Source", "Library", "Test")
STAGE_TITLES = {"cls": "Classification", "det": "Detection", "seg": "Segmentation"}
# Images of 299 pixels say nothing about the embedded data's 64.
LEFT_OUT = ("image_299",)
# They change no step of training, only rates, starting points or its end: what they seem to cost is noise.
FREE = (
    *("cosine", "early_stopping", "exponential", "kaiming", "linear_scaling", "no_bias_decay"),
    *("polynomial", "step_cosine", "step_every", "warmup", "zero_gamma"),
)


@dataclass(frozen=True)
class Trick:
    """What a trick's file says of itself.

    Attributes:
        name: Of its file.
        stage: `cls`, `det` or `seg`.
        summary: The first sentence of its docstring.
        source: Paper, by arXiv number or authors.
        library: What computes it.
        test: The file that tests it.
    """

    name: str
    stage: str
    summary: str
    source: str
    library: str
    test: str


def read_trick(stage: str, name: str, root: Path = ROOT) -> Trick:
    """Read the head of a trick's file.

    Raises:
        UserError: The file's docstring lacks one of the lines `Source:`, `Library:` and `Test:`.
    """
    path = root / TASKS[stage].tricks[0] / f"{name}.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    found = {
        key: value.strip()
        for key, colon, value in (line.partition(":") for line in text.splitlines())
        if colon and key in FIELDS
    }
    if lacking := [key for key in FIELDS if not found.get(key)]:
        raise UserError(
            f"{path} has no line '{lacking[0]}: …' in its docstring; write one, such as 'Source: 1812.01187 §3.1'."
        )
    summary = " ".join(text.split("\n\n")[0].split())
    return Trick(name, stage, summary, found["Source"], found["Library"], found["Test"])


def catalogue(root: Path = ROOT) -> list[Trick]:
    """Read all tricks of all stages."""
    return [
        read_trick(stage, name, root)
        for stage in STAGE_TITLES
        for name in names_in(root / TASKS[stage].tricks[0])
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tricks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    speed = commands.add_parser("speed", help="measure what each classification trick costs")
    speed.add_argument("--iterations", type=int, default=24)
    speed.add_argument("--rounds", type=int, default=1)
    write = commands.add_parser("write", help="write docs/tricks.md")
    write.add_argument(
        "--run-dir",
        type=Path,
        nargs="+",
        default=[ROOT / "runs" / "tricks-mini"],
        help="runs of tricks-mini; a row that several have measured is taken from the last of them",
    )
    options = parser.parse_args(arguments)
    try:
        if options.command == "speed":
            measure_speed(options.iterations, options.rounds)
        else:
            runs = [
                read_run(folder) for folder in options.run_dir if (folder / "plan.json").exists()
            ]
            speeds = json.loads(SPEEDS.read_text(encoding="utf-8")) if SPEEDS.exists() else None
            PAGE.write_text(format_page(catalogue(), speeds, runs), encoding="utf-8")
            print(f"written: {PAGE.relative_to(ROOT)}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measure_speed(iterations: int, rounds: int) -> None:
    """Train with each classification trick, beside it on the same core the plain recipe, and store the ratios.

    Raises:
        UserError: A training fails.
    """
    data = miniworld.prepare("mini-smoke", ROOT / "data" / "miniworld") / "cls"
    names = [name for name in names_in(ROOT / TASKS["cls"].tricks[0]) if name not in LEFT_OUT]
    with tempfile.TemporaryDirectory() as folder:
        teacher = Path(folder) / "teacher"
        _end(_begin("resnet26_d-w32", [], data, teacher, 2, 0), teacher)
        taught = ["--teacher", str(teacher / "backbone.safetensors")]

        def pair(task: tuple[int, str]) -> tuple[str, dict[str, Any], float]:
            number, name = task
            core = free.get()
            words = ["--trick", name, *(taught if "distillation" in name else [])]
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
    SPEEDS.parent.mkdir(parents=True, exist_ok=True)
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
    SPEEDS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"written: {SPEEDS.relative_to(ROOT)}")


def _begin(
    backbone: str, words: Sequence[str], data: Path, work_dir: Path, iterations: int, core: int
) -> subprocess.Popen[str]:
    budget = {"smoke": dict(iterations=iterations, batch_size=32, test_images=1)}
    command = [
        *(sys.executable, "-m", "cls_train.train", "mini", "--backbone", backbone),
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
    return json.loads((work_dir / "result.json").read_text(encoding="utf-8"))


def format_page(
    tricks: Sequence[Trick], speeds: Mapping[str, Any] | None, runs: Sequence[RunFolder]
) -> str:
    """Write docs/tricks.md; what was not measured is told as such.

    Args:
        tricks: The catalogue.
        speeds: What `measure_speed` stored.
        runs: Runs of `tricks-mini`; where several have a row, the last one's counts.
    """
    effects: dict[str, str] = {}
    for run in runs:
        effects |= _effects(run)
    seeds = runs[0].seeds if runs else ()
    ratios = _ratios(speeds)
    lines = ["# Tricks", "", _introduction(speeds, effects, seeds), ""]
    for stage, title in STAGE_TITLES.items():
        own = [trick for trick in tricks if trick.stage == stage]
        lines += [f"## {title}", "", f"`python -m {TASKS[stage].module} … --trick NAME`", ""]
        measured = stage == "cls"
        header = ["trick", "what it does", "source", "library", "test"]
        header += ["speed", "top-1 on mini"] if measured else []
        lines += ["| " + " | ".join(header) + " |", "|" + ":--|" * len(header)]
        for trick in own:
            path = f"../{TASKS[stage].tricks[0].as_posix()}/{trick.name}.py"
            test = f"[{Path(trick.test).name}](../{trick.test})"
            cells = [f"[`{trick.name}`]({path})", trick.summary, trick.source, trick.library, test]
            if measured:
                ratio = ratios.get(trick.name)
                cells.append("not measured" if ratio is None else f"× {ratio:.2f}")
                cells.append(effects.get(trick.name, "not measured"))
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _ratios(speeds: Mapping[str, Any] | None) -> dict[str, float]:
    found = {} if speeds is None else speeds["ratios"]
    return {name: statistics.median(values) for name, values in found.items()}


def _introduction(
    speeds: Mapping[str, Any] | None, effects: Mapping[str, str], seeds: Sequence[int]
) -> str:
    sentences = [
        "Each trick is one file that a suite row or `--trick` names. This page is written by "
        "`python -m benchmarks.tricks write` from the heads of these files and from measurements.",
    ]
    if speeds is not None:
        sentences.append(
            f"**Speed**: training images per CPU second against the plain recipe, which made "
            f"{speeds['plain_images_per_cpu_second']:.0f} (median; {speeds['backbone']}, batch {speeds['batch']}, one "
            f"thread of {speeds['device']['name']}, {speeds['precision']['dtype']}); the two share a core and take "
            "turns. Images are prepared by the same process, so that what augmentation costs shows in full. "
            + _noise(_ratios(speeds))
        )
    if effects:
        plain = effects.get(PLAIN, "not measured")
        sentences.append(
            f"**Top-1 on mini**: mean ± half the 95% interval over seeds {', '.join(map(str, seeds))}, of the "
            f"plain recipe with this trick alone; the plain recipe itself: {plain}. A small network, a small generated "
            "world, few epochs: this shows what a trick does there, and nothing about ImageNet."
        )
    return "\n\n".join(sentences)


def _noise(ratios: Mapping[str, float]) -> str:
    free = [ratios[name] for name in FREE if name in ratios]
    if not free:
        return ""
    between = f"{min(free):.2f} and {max(free):.2f}"
    return f"The {len(free)} tricks that change no step lie between {between}: so much is noise."


def _effects(run: RunFolder) -> dict[str, str]:
    found = {}
    for row in run.rows:
        cells = run.of(row.name, "cls")
        values = metric_values(cells, "top1")
        if not values:
            continue
        summary = aggregate(list(values.values()), len(cells))
        spread = "" if summary.half_width is None else f" ± {summary.half_width:.1f}"
        short = "" if summary.complete else f" ({summary.n} of {summary.planned} seeds)"
        found[row.name] = f"{summary.mean:.1f}{spread}{short}"
    return found


if __name__ == "__main__":
    sys.exit(main())
