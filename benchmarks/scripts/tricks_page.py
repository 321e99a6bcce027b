"""Write docs/tricks.md: every trick with its description, cost and effect."""

from __future__ import annotations

import ast
import csv
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.results.read import RunFolder, metric_values
from benchmarks.results.statistics import Aggregate, aggregate
from contract.errors import UserError
from contract.settings import ROOT
from contract.tasks import SOURCE, TASKS

PLAIN = "plain"
FIELDS = ("Source", "Library", "Test")
# These change only rates, initial weights or the end of training, so their measured cost is noise.
FREE = (
    *("cosine", "early_stopping", "exponential", "kaiming", "linear_scaling", "no_bias_decay"),
    *("polynomial", "step_cosine", "step_every", "warmup", "zero_gamma"),
)


@dataclass(frozen=True)
class Trick:
    """The docstring of a trick's file.

    Attributes:
        name: The name of its file.
        path: The file, relative to the repository.
        summary: The first paragraph of its docstring.
        source: Paper, by arXiv number or authors.
        library: The library that computes it.
        test: The file that tests it.
    """

    name: str
    path: PurePosixPath
    summary: str
    source: str
    library: str
    test: str


@dataclass(frozen=True)
class Effects:
    """What tricks do to the score of the plain recipe.

    Attributes:
        texts: Mean and interval by row.
        seeds: What was run.
    """

    texts: Mapping[str, str]
    seeds: tuple[int, ...]


def read_trick(path: PurePosixPath, root: Path = ROOT) -> Trick:
    """Read the docstring of a trick's file.

    Raises:
        UserError: The docstring has no line `Source:`, `Library:` or `Test:`.
    """
    file = root / path
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    found = {
        key: value.strip()
        for key, colon, value in (line.partition(":") for line in text.splitlines())
        if colon and key in FIELDS
    }
    if missing := [key for key in FIELDS if not found.get(key)]:
        raise UserError(
            f"{file} has no line '{missing[0]}: …' in its docstring; write one, such as 'Source: 1812.01187 §3.1'."
        )
    summary = " ".join(text.split("\n\n")[0].split())
    return Trick(path.stem, path, summary, found["Source"], found["Library"], found["Test"])


def catalogue(root: Path = ROOT) -> dict[str, list[Trick]]:
    """Read the tricks of all tasks, sorted by name."""
    found = {}
    for task in TASKS.values():
        # The first folder that contains a trick is used.
        files = {
            path.stem: folder / path.name
            for folder in reversed(task.tricks)
            for path in (root / folder).glob("[!_]*.py")
        }
        if files:
            found[task.name] = [read_trick(files[name], root) for name in sorted(files)]
    return found


def format_page(
    tricks: Mapping[str, Sequence[Trick]],
    speeds: Mapping[str, Any] | None,
    measured_effects: Sequence[Effects],
) -> str:
    """Return the content of docs/tricks.md; it names what was not measured.

    Args:
        tricks: The catalogue, by task.
        speeds: The file of `measure_speed`; None if there is none.
        measured_effects: Of runs of `tricks-mini`; if several have a row, the last one counts.
    """
    effects: dict[str, str] = {}
    for part in measured_effects:
        effects |= part.texts
    seeds = measured_effects[0].seeds if measured_effects else ()
    ratios = _ratios(speeds)
    lines = ["# Tricks", "", _introduction(speeds, effects, seeds), ""]
    for name, own in tricks.items():
        task = TASKS[name]
        lines += [
            f"## {task.label.capitalize()}",
            "",
            f"`python -m {task.module} … --trick NAME`",
            "",
        ]
        measured = name == SOURCE
        header = ["trick", "what it does", "source", "library", "test"]
        header += ["speed", "top-1 on mini"] if measured else []
        lines += ["| " + " | ".join(header) + " |", "|" + ":--|" * len(header)]
        for trick in own:
            path = f"../{trick.path}"
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
        "`python -m benchmarks.scripts.tricks write` from the heads of these files and from measurements.",
    ]
    if speeds is not None:
        sentences.append(
            f"**Speed**: training images per CPU second against the plain recipe, which made "
            f"{speeds['plain_images_per_cpu_second']:.0f} (median; {speeds['backbone']}, batch {speeds['batch']}, one "
            f"thread of {speeds['device']['name']}, {speeds['precision']['dtype']}); the two share a core and take "
            "turns. Images are prepared by the same process, which shows the full cost of augmentation. "
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


def effects_of_run(run: RunFolder) -> Effects:
    """Return the effects that a run folder of `tricks-mini` shows."""
    texts = {}
    for row in run.rows:
        records = run.of(row.name, SOURCE)
        values = list(metric_values(records, TASKS[SOURCE].main_metric).values())
        if values:
            texts[row.name] = _effect(aggregate(values, len(records)))
    return Effects(texts, run.seeds)


def effects_of_table(path: Path) -> Effects:
    """Return the effects that a stored `table.csv` of `tricks-mini` shows."""
    texts, seeds = {}, ()
    with path.open(encoding="utf-8", newline="") as file:
        for entry in csv.DictReader(file):
            if entry["metric"] == TASKS[SOURCE].main_metric and entry["values"]:
                values = [float(value) for value in entry["values"].split(";")]
                texts[entry["row"]] = _effect(aggregate(values, int(entry["planned"])))
                seeds = seeds or tuple(int(seed) for seed in entry["seeds"].split(";"))
    return Effects(texts, seeds)


def _effect(summary: Aggregate) -> str:
    spread = "" if summary.half_width is None else f" ± {summary.half_width:.1f}"
    short = "" if summary.complete else f" ({summary.n} of {summary.planned} seeds)"
    return f"{summary.mean:.1f}{spread}{short}"
