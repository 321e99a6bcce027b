"""A sweep over learning rates: the same trials for every row, judged on training images that are held out.

A backbone that was trained otherwise may want another learning rate of its detector. A table at one rate for all then
ranks how well that rate suits each row; one whose rates were chosen on the test set ranks how much was tried. Here
every row, the one without pretraining too, has the same factors on the config's rate, one seed, and images that are
not the test set's. What was tried stands in the note of each row, and so under the table.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks import preflight
from benchmarks.commands import make_console, run_folder, run_suite, selected
from benchmarks.results.columns import known_columns
from benchmarks.results.read import RunFolder, metric_values, read_run
from benchmarks.run import CommandBuilder
from benchmarks.run import stage_command as default_command
from benchmarks.suite import ROOT, Row, Suite, find_suite, load_suite
from benchmarks.suite_file import suite_text
from benchmarks.suite_schema import is_safe_name
from contract.errors import UserError, unknown
from contract.tasks import DECIMALS, TASKS

HOLDOUT = "holdout"
# Those that have the trick.
STAGES = ("det", "seg")
INTERRUPTED = 130


@dataclass(frozen=True)
class Choice:
    """What the trials of a row came to.

    Args:
        row: The row of the suite that was swept.
        scores: The main metric of each trial, percent, in the order of the factors; None where it failed.
        factor: The best; None where a trial is missing.
        problem: Why there is no factor; empty else.
    """

    row: Row
    scores: tuple[float | None, ...]
    factor: float | None
    problem: str = ""


def sweep(
    options: argparse.Namespace,
    *,
    root: Path = ROOT,
    build_command: CommandBuilder = default_command,
    describe: preflight.Describe | None = None,
) -> int:
    """Runs the trials, prints them, and writes the suite with the rate that is best for each row.

    Args:
        options: The parsed command line.
        root: The repository.
        build_command: Makes a cell's command line.
        describe: Describes a backbone; None for the command line of `backbones`.

    Returns:
        The exit status: 0; 1 where a row has no choice; 130 where the run was interrupted.

    Raises:
        UserError: An option is wrong, or the suite cannot be swept.
    """
    stage, factors = options.stage, sorted(options.factors)
    check_options(stage, factors, options.seeds)
    suite, selection = selected(options, root)
    suite = replace(suite, seeds=suite.seeds[:1])
    trials = expand(suite, stage, factors)
    run_dir = run_folder(options, trials, root)
    status = run_suite(
        options, trials, selection, root=root, build_command=build_command, describe=describe
    )
    if status == INTERRUPTED:
        return status
    run = read_run(run_dir)
    choices = choose(run, suite.rows, stage, factors)
    console = make_console()
    _print_trials(console, choices, stage, factors)
    file = run_dir / f"{suite.name}-{stage}-lr.py"
    _write(file, options.suite, suite, run, choices, stage, factors)
    _tell_what_to_do(console, choices, factors, file)
    return 1 if any(choice.factor is None for choice in choices) else 0


def check_options(stage: str, factors: Sequence[float], seeds: Sequence[int] | None) -> None:
    """Refuses what makes no sweep.

    Raises:
        UserError: The stage has no held-out images, there is nothing to choose from, or there are several seeds.
    """
    if stage == "cls":
        raise UserError(
            "--stage cls was given; classification has no trick that holds training images out, and a rate chosen on "
            "the test images would be no fair one. Sweep det or seg, or write `cls_lr` into the rows of a suite."
        )
    if stage not in STAGES:
        raise unknown("stage", stage, STAGES)
    if len(set(factors)) < len(factors) or len(factors) < 2:
        raise UserError(
            f"--factors {' '.join(map(as_text, factors))} was given; give two or more that differ, such as 0.3 1 3."
        )
    if seeds is not None and len(seeds) != 1:
        raise UserError(
            f"--seeds {' '.join(map(str, seeds))} was given; a sweep takes one seed, and the suite that it writes is "
            "run with all."
        )


def as_text(factor: float) -> str:
    """A factor as it was typed: 3 for 3.0."""
    return repr(factor).removesuffix(".0")


def trial_name(row: str, factor: float) -> str:
    """The name of a row's trial."""
    return f"{row}.lr{as_text(factor)}"


def expand(suite: Suite, stage: str, factors: Sequence[float]) -> Suite:
    """Makes the suite of all trials: rows × factors, on held-out training images, without the other dense stage.

    The trials of a row train one classifier: its cells have one identity, and the runner runs such a cell once.

    Raises:
        UserError: The suite has not the stage, or a trial cannot have its name.
    """
    if stage not in suite.stages:
        raise unknown("stage", stage, sorted(suite.stages))
    names = {row.name.casefold() for row in suite.rows}
    rows = []
    for row in suite.rows:
        for factor in factors:
            name = trial_name(row.name, factor)
            if not is_safe_name(name) or name.casefold() in names:
                raise UserError(
                    f"The trial {name!r} of row {row.name!r} would have a name that is too long or taken; rename the "
                    "row."
                )
            trial = replace(row, name=name, note="", reference={})
            rows.append(replace(trial, **{f"{stage}_lr": factor}))
    swept = suite.stages[stage]
    tricks = swept.tricks if HOLDOUT in swept.tricks else (*swept.tricks, HOLDOUT)
    stages = {stage: replace(swept, tricks=tricks)}
    if any(row.trains_classifier for row in rows):
        stages = {"cls": suite.stages["cls"], **stages}
    known = known_columns()
    columns = [name for name in suite.columns if known[name].task in stages]
    if TASKS[stage].main_metric not in columns:
        columns.append(TASKS[stage].main_metric)
    return replace(
        suite,
        name=f"{suite.name}-sweep-{stage}",
        title=f"{suite.title}: learning rates of {TASKS[stage].label}",
        description="Trials to choose learning rates by, on training images that are held out: no test numbers.",
        rows=tuple(rows),
        stages=stages,
        columns=tuple(columns),
    )


def choose(
    run: RunFolder, rows: Sequence[Row], stage: str, factors: Sequence[float]
) -> list[Choice]:
    """Chooses the factor of each row that can be run: the best score, of equal ones the factor nearest to 1."""
    unavailable = {row.name for row in run.rows if row.unavailable}
    choices = []
    for row in rows:
        if trial_name(row.name, factors[0]) in unavailable:
            continue
        cells = [run.of(trial_name(row.name, factor), stage)[0] for factor in factors]
        scores: dict[float, float] = {}
        lacking = []
        for factor, cell in zip(factors, cells, strict=True):
            found = metric_values([cell], TASKS[stage].main_metric)
            if found:
                scores[factor] = found[cell.seed]
            else:
                why = (cell.message.splitlines() or [cell.state])[0]
                lacking.append(f"× {as_text(factor)} ({why})")
        told = tuple(scores.get(factor) for factor in factors)
        best = None if lacking else _best(scores)
        choices.append(Choice(row, told, best, ", ".join(lacking)))
    return choices


def _best(scores: Mapping[float, float]) -> float:
    # Of two factors that are as far from 1, such as 0.5 and 2, the smaller.
    return max(scores, key=lambda factor: (scores[factor], -abs(math.log(factor)), -factor))


def at_edge(factor: float, factors: Sequence[float]) -> bool:
    """Whether a better factor may lie outside those that were tried."""
    return factor in (min(factors), max(factors))


def describe_trials(choice: Choice, stage: str, factors: Sequence[float], run: RunFolder) -> str:
    """What was tried for a row and what came of it, for the note below the table."""
    assert choice.factor is not None
    scores = ", ".join(f"{score:.{DECIMALS}f}" for score in choice.scores)
    budget = "" if run.budget == "full" else f", budget {run.budget}"
    edge = "; the best is at the edge of the range" if at_edge(choice.factor, factors) else ""
    return (
        f"learning rate of {TASKS[stage].label} × {as_text(choice.factor)} of {', '.join(map(as_text, factors))}, "
        f"chosen on held-out training images (seed {run.seeds[0]}{budget}): "
        f"{TASKS[stage].main.label} {scores}{edge}"
    )


def _write(
    file: Path,
    base: str,
    suite: Suite,
    run: RunFolder,
    choices: Sequence[Choice],
    stage: str,
    factors: Sequence[float],
) -> None:
    """Writes the suite of the rows that have a choice; without any, takes an earlier one away."""
    chosen = {choice.row.name: choice for choice in choices if choice.factor is not None}
    if not chosen:
        file.unlink(missing_ok=True)
        return
    refused = {choice.row.name for choice in choices} - chosen.keys()
    rows = []
    for row in suite.rows:
        if row.name in chosen:
            told = describe_trials(chosen[row.name], stage, factors, run)
            note = f"{row.note}; {told}" if row.note else told
            row = replace(row, note=note, **{f"{stage}_lr": chosen[row.name].factor})
        if row.name not in refused:
            rows.append(row)
    label = TASKS[stage].label
    told = replace(
        suite,
        title=f"{suite.title}, learning rate of {label} by row",
        description=f"{suite.description} The learning rate of {label} is each row's best of {len(factors)} on "
        "held-out training images, with one seed.".strip(),
    )
    command = f"python -m benchmarks sweep {base} --stage {stage} --factors "
    head = f"Written by `{command}{' '.join(map(as_text, factors))}`, which writes it anew."
    base_file = find_suite(base)
    text = suite_text(told, load_suite(base), base_file, file.parent, head=head, rows=rows)
    file.write_text(text, encoding="utf-8")


def _print_trials(
    console: Console, choices: Sequence[Choice], stage: str, factors: Sequence[float]
) -> None:
    label = TASKS[stage].main.label
    heads = [f"× {as_text(factor)}" for factor in factors]
    table = Table("row", *heads, "chosen", box=None, pad_edge=False)
    console.print(f"{label} on held-out training images, by factor on the learning rate:")
    for choice in choices:
        scores = [
            "—" if score is None else f"{score:.{DECIMALS}f}" + " ←" * (factor == choice.factor)
            for score, factor in zip(choice.scores, factors, strict=True)
        ]
        chosen = "none" if choice.factor is None else f"× {as_text(choice.factor)}"
        table.add_row(escape(choice.row.name), *scores, chosen)
    console.print(table)


def _tell_what_to_do(
    console: Console, choices: Sequence[Choice], factors: Sequence[float], file: Path
) -> None:
    for choice in choices:
        if choice.factor is None:
            text = (
                f"{choice.row.name}: no factor is chosen, for not all of its {len(factors)} trials have a result: "
                f"{choice.problem}. Mend this and give the same command again, or leave the factor out for all rows."
            )
            console.print(escape(text), soft_wrap=True)
        elif at_edge(choice.factor, factors):
            console.print(
                escape(
                    f"{choice.row.name}: the best factor, {as_text(choice.factor)}, is at the edge: widen --factors; "
                    "finished trials are kept."
                ),
                soft_wrap=True,
            )
    if not file.is_file():
        console.print("No suite was written.")
        return
    left_out = sum(choice.factor is None for choice in choices)
    without = f" without the {left_out} row(s) above" if left_out else ""
    console.print(
        f"Written{without}: {file}\nRun it with all seeds: bash benchmarks/run_all.sh {file}",
        soft_wrap=True,
    )
