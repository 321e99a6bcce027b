"""`sweep`: choose learning rates on held-out training images, with the same trials for every row.

A backbone that was trained differently may need another learning rate in its detector. A table with one rate for all
rows ranks how well that rate suits each row; a table with rates chosen on the test set ranks the effort of the
search. Here every row, including the one without pretraining, gets the same factors on the config's rate, one seed,
and no test images. The note of each row in the table lists the trials.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.commands.request import (
    Request,
    make_console,
    read_selection,
    run_folder,
)
from benchmarks.commands.run import INTERRUPTED, run_request
from benchmarks.plan.compute import Ask
from benchmarks.plan.preflight import available_tricks
from benchmarks.results.columns import main_column
from benchmarks.results.read import RunFolder, metric_values, read_run
from benchmarks.run.command import CommandBuilder, task_command
from benchmarks.suite.load import find_suite, load_suite
from benchmarks.suite.model import Row, Suite, replace
from benchmarks.suite.names import ROOT, is_safe_name
from benchmarks.suite.select import Selection, select
from benchmarks.suite.write import suite_text
from contract.command_line import STOPPED
from contract.errors import UserError, unknown
from contract.tasks import DECIMALS, SOURCE, TASKS

HOLDOUT = "holdout"
# The tasks that have the trick.
SWEPT = tuple(task.name for task in TASKS.values() if task.holds_out)


@dataclass(frozen=True)
class Choice:
    """The result of a row's trials.

    Attributes:
        row: The row.
        scores: The main metric of each trial, in the order of the factors; None if it failed.
        factor: The best factor; None if a trial is missing.
        problem: Why there is no factor; else empty.
    """

    row: Row
    scores: tuple[float | None, ...]
    factor: float | None
    problem: str = ""


def sweep(
    options: argparse.Namespace,
    *,
    root: Path = ROOT,
    build_command: CommandBuilder = task_command,
    ask: Ask | None = None,
) -> int:
    """Run the trials, print them, and write a suite with the best rate of each row.

    Args:
        options: The parsed command line.
        root: The repository.
        build_command: Returns a run's command line.
        ask: Describes the device and backbones; None for `engine.describe`.

    Returns:
        The exit status: 0; 1 if a row has no choice; 75 if trials were stopped; 130 after an interruption.

    Raises:
        UserError: An option is wrong, or the suite cannot be swept.
    """
    task, factors = options.task, sorted(options.factors)
    check_options(task, factors, options.seeds)
    selection = read_selection(options)
    suite = select(load_suite(options.suite), selection, available_tricks(root))
    rows = [row for row in suite.rows if selection.rows is None or row.name in selection.rows]
    seed = (selection.seeds or (suite.teacher_seed,))[0]
    trials = replace(expand(suite, task, factors), seeds=(seed,))
    request = Request(
        trials,
        Selection(
            budget=selection.budget,
            precision=selection.precision,
            device=selection.device,
            deterministic=selection.deterministic,
            trackers=selection.trackers,
            processes=selection.processes,
            teacher_processes=selection.teacher_processes,
            gloo=selection.gloo,
            rows=tuple(trial_name(row.name, factor) for row in rows for factor in factors),
            seeds=(seed,),
        ),
        run_folder(options, trials.name, selection, root),
        root,
    )
    status = run_request(
        request,
        jobs=options.jobs,
        gpus=options.gpus,
        fail_fast=options.fail_fast,
        stop_after=options.stop_after,
        build_command=build_command,
        ask=ask,
    )
    if status in (INTERRUPTED, STOPPED):
        return status
    found = read_run(request.run_dir)
    choices = choose(found, rows, task, factors, seed)
    console = make_console()
    _print_trials(console, choices, task, factors)
    file = request.run_dir / f"{suite.name}-{task}-lr.py"
    where = f"seed {seed}" + ("" if found.budget == "full" else f", budget {found.budget}")
    _write(file, options.suite, suite, choices, task, factors, where)
    _say_what_to_do(console, choices, factors, file)
    return 1 if any(choice.factor is None for choice in choices) else 0


def check_options(task: str, factors: Sequence[float], seeds: Sequence[int] | None) -> None:
    """Check the options of a sweep.

    Raises:
        UserError: The task cannot hold out images, there are fewer than two factors, or there are several seeds.
    """
    if task in TASKS and task not in SWEPT:
        rate = f" or write `{task}_lr` into the rows of a suite" if TASKS[task].trains else ""
        raise UserError(
            f"--task {task} was given; {TASKS[task].label} has no trick that holds training images out, and a rate "
            f"chosen on the test images would be no fair one. Sweep {' or '.join(SWEPT)},{rate}."
        )
    if task not in SWEPT:
        raise unknown("task", task, SWEPT)
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
    """Return a factor as it was typed: 3 for 3.0."""
    return repr(factor).removesuffix(".0")


def trial_name(row: str, factor: float) -> str:
    """Return the name of a row's trial."""
    return f"{row}.lr{as_text(factor)}"


def expand(suite: Suite, task: str, factors: Sequence[float]) -> Suite:
    """Return the suite of all trials: rows × factors, on held-out training images, without the other dense tasks.

    The trials of a row share a classifier: its runs have the same identity, so it is trained once.

    Raises:
        UserError: The suite does not have the task, or the name of a trial is not possible.
    """
    if task not in suite.tasks:
        raise unknown("task", task, sorted(suite.tasks))
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
            # Trials of other factors stay in the table, like added rows.
            trial = replace(row, name=name, note="", reference={}, added=True)
            rows.append(trial.with_task(task, lr=float(factor)))
    swept = suite.tasks[task]
    tricks = swept.tricks if HOLDOUT in swept.tricks else (*swept.tricks, HOLDOUT)
    tasks = {task: replace(swept, tricks=tricks)}
    if any(row.trains_classifier for row in rows):
        tasks = {SOURCE: suite.tasks[SOURCE], **tasks}
    known = {name for other in tasks for name in TASKS[other].columns()}
    columns = [name for name in suite.columns if name in known]
    main = TASKS[task].main_metric
    if main not in columns:
        columns.append(main)
    return replace(
        suite,
        name=f"{suite.name}-sweep-{task}",
        title=f"{suite.title}: learning rates of {TASKS[task].label}",
        description="Trials to choose learning rates by, on training images that are held out: no test numbers.",
        rows=tuple(rows),
        tasks=tasks,
        columns=tuple(columns),
        smoke_datasets=suite.datasets,
    )


def choose(
    run: RunFolder, rows: Sequence[Row], task: str, factors: Sequence[float], seed: int
) -> list[Choice]:
    """Choose the factor of each available row: the best score; ties go to the factor nearest to 1."""
    main = main_column(task)
    unavailable = {row.name for row in run.rows if row.unavailable}
    choices = []
    for row in rows:
        if trial_name(row.name, factors[0]) in unavailable:
            continue
        scores: dict[float, float] = {}
        missing = []
        for factor in factors:
            name = trial_name(row.name, factor)
            trial = next(record for record in run.of(name, task) if record.seed == seed)
            found = metric_values([trial], main.name)
            if found:
                scores[factor] = found[seed]
            else:
                why = (trial.message.splitlines() or [trial.state])[0]
                missing.append(f"× {as_text(factor)} ({why})")
        every = tuple(scores.get(factor) for factor in factors)
        best = None if missing else _best({f: main.merit(score) for f, score in scores.items()})
        choices.append(Choice(row, every, best, ", ".join(missing)))
    return choices


def _best(merits: Mapping[float, float]) -> float:
    # Of two factors that are equally far from 1, such as 0.5 and 2, the smaller one.
    return max(merits, key=lambda factor: (merits[factor], -abs(math.log(factor)), -factor))


def at_edge(factor: float, factors: Sequence[float]) -> bool:
    """Return whether a better factor may be outside the range of the trials."""
    return factor in (min(factors), max(factors))


def describe_trials(choice: Choice, task: str, factors: Sequence[float], where: str) -> str:
    """Describe the trials of a row and their scores, for the note below the table."""
    assert choice.factor is not None
    scores = ", ".join(f"{score:.{DECIMALS}f}" for score in choice.scores)
    edge = "; the best is at the edge of the range" if at_edge(choice.factor, factors) else ""
    return (
        f"learning rate of {TASKS[task].label} × {as_text(choice.factor)} of {', '.join(map(as_text, factors))}, "
        f"chosen on held-out training images ({where}): {TASKS[task].main.label} {scores}{edge}"
    )


def _write(
    file: Path,
    base: str,
    suite: Suite,
    choices: Sequence[Choice],
    task: str,
    factors: Sequence[float],
    where: str,
) -> None:
    """Write the suite of the rows with a chosen factor; if there are none, remove an earlier file."""
    chosen = {choice.row.name: choice for choice in choices if choice.factor is not None}
    if not chosen:
        file.unlink(missing_ok=True)
        return
    rows = []
    for row in suite.rows:
        if row.name in chosen:
            text = describe_trials(chosen[row.name], task, factors, where)
            note = f"{row.note}; {text}" if row.note else text
            rows.append(
                replace(row, note=note).with_task(task, lr=float(chosen[row.name].factor or 1))
            )
    label = TASKS[task].label
    written = replace(
        suite,
        title=f"{suite.title}, learning rate of {label} by row",
        description=f"{suite.description} The learning rate of {label} is each row's best of {len(factors)} on "
        "held-out training images, with one seed.".strip(),
    )
    command = f"python -m benchmarks sweep {base} --task {task} --factors "
    head = f"Written by `{command}{' '.join(map(as_text, factors))}`, which writes it again."
    base_file = find_suite(base)
    text = suite_text(written, load_suite(base), base_file, file.parent, head=head, rows=rows)
    file.write_text(text, encoding="utf-8")


def _print_trials(
    console: Console, choices: Sequence[Choice], task: str, factors: Sequence[float]
) -> None:
    label = TASKS[task].main.label
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


def _say_what_to_do(
    console: Console, choices: Sequence[Choice], factors: Sequence[float], file: Path
) -> None:
    for choice in choices:
        if choice.factor is None:
            text = (
                f"{choice.row.name}: no factor is chosen, because not all of its {len(factors)} trials have a result: "
                f"{choice.problem}. Repair this and give the same command again, or leave the factor out for all rows."
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
