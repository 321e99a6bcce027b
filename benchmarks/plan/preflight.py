"""Checks before anything is trained: names, weights, device, data.

A wrong name is a mistake in the command or the suite and stops the command. Wrong data stop only the runs that need
them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plan.compute import Compute, require_success
from benchmarks.suite.model import Dataset, Row, Suite
from contract.errors import UserError, unknown
from contract.tasks import SOURCE, TASKS
from datasets import miniworld, verify
from datasets.fingerprint import fingerprint

# For larger datasets, only headers are read before a run, because decoding ImageNet takes too long.
MOST_IMAGES_TO_DECODE = 50_000


@dataclass(frozen=True)
class DataState:
    """The state of a dataset before the runs start.

    Attributes:
        root: Its folder.
        fingerprint: Hash of its files; None if there are none.
        problem: Why it cannot be used, in a sentence; None if it is valid.
    """

    root: Path
    fingerprint: str | None
    problem: str | None = None


def names_in(folder: Path) -> list[str]:
    """Return the names of the configs, recipes or tricks in a folder."""
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def available_tricks(root: Path, task: str = SOURCE) -> list[str]:
    """Return the tricks of a task in this version."""
    found = {name for folder in TASKS[task].tricks for name in names_in(root / folder)}
    return sorted(found)


def available_recipes(root: Path, task: str = SOURCE) -> list[str]:
    """Return the recipes of a task in this version."""
    folder = TASKS[task].recipes
    return [] if folder is None else names_in(root / folder)


def check_names(suite: Suite, root: Path, wanted: Iterable[Row] | None = None) -> None:
    """Check that every config, recipe, trick and weights file that a suite names exists.

    Args:
        suite: The suite.
        root: The repository.
        wanted: The rows whose weights must exist; None for all.

    Raises:
        UserError: Some do not exist; the message lists all of them.
    """
    problems = []
    for name, setup in suite.tasks.items():
        if not (root / setup.config).is_file():
            folder = TASKS[name].configs
            known = [(folder / f"{entry}.py").as_posix() for entry in names_in(root / folder)]
            problems.append(f"task {name!r}: {unknown('config', setup.config, known)}")
        tricks = available_tricks(root, name)
        problems += [
            f"task {name!r}: {unknown('trick', trick, tricks)}"
            for trick in setup.tricks
            if trick not in tricks
        ]
    for row in (*suite.teachers, *suite.rows):
        problems += _unknown_names(row, root)
    for row in suite.rows if wanted is None else wanted:
        if row.weights is not None and not row.published and not row.weights.is_file():
            problems.append(
                f"row {row.name!r}: there is no checkpoint {row.weights}. Give the path of a "
                "backbone.safetensors file, or 'published' for what timm or torchvision publishes."
            )
    if problems:
        raise UserError("\n".join(problems))


def check_device(compute: Compute, precision: str) -> None:
    """Check that runs can use the device of this machine, in the precision of a command.

    Raises:
        UserError: A GPU is present that torch cannot use, or the device or its precision does not exist.
    """
    if compute.problem is not None:
        raise UserError(compute.problem)
    possible = [name for name, dtype in compute.dtypes.items() if dtype is not None]
    if precision in compute.dtypes and precision not in possible:
        device = f"the GPU ({compute.gpus[0].name})" if compute.gpus else "the CPU"
        raise UserError(
            f"--precision {precision} was given, which {device} does not support; choose one of {', '.join(possible)}."
        )


def _unknown_names(row: Row, root: Path) -> list[str]:
    problems = []
    for task, options in row.tasks.items():
        recipes, tricks = available_recipes(root, task), available_tricks(root, task)
        if options.recipe is not None and options.recipe not in recipes:
            problems.append(f"row {row.name!r}: {unknown('recipe', options.recipe, recipes)}")
        problems += [
            f"row {row.name!r}: {unknown('trick', trick, tricks)}"
            for trick in options.tricks
            if trick not in tricks and trick not in options.requires
        ]
    return problems


def fetch_published(rows: Iterable[Row], root: Path, say: Callable[[str], None]) -> None:
    """Create missing checkpoints of published weights that rows use.

    Raises:
        UserError: They cannot be downloaded or converted.
    """
    wanted = {row.weights: row.backbone for row in rows if row.published and row.weights}
    for path, spec in wanted.items():
        if path.is_file():
            continue
        say(f"Fetching the published weights of {spec} into {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        _ask_backbones(["import", spec, "published", "--out", str(path)], root)


def _ask_backbones(words: list[str], root: Path) -> str:
    """Return the output of a `backbones` command; raise its user errors as ours."""
    command = [sys.executable, "-m", "backbones", *words]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if answer.returncode == 2:
        raise UserError(answer.stderr.rsplit("error: ", 1)[-1].strip())
    require_success(answer)
    return answer.stdout


def generate_missing(datasets: Iterable[Dataset], say: Callable[[str], None]) -> None:
    """Generate missing or outdated miniworlds that datasets name."""
    worlds = {(dataset.generate, _world(dataset)) for dataset in datasets if dataset.generate}
    for preset, folder in sorted(worlds, key=str):
        known = miniworld.PRESETS
        if preset not in known:
            raise unknown("miniworld preset", str(preset), known)
        if not miniworld.is_generated(folder, known[preset]):
            say(f"Generating the dataset {preset} in {folder}")
            miniworld.prepare(preset, folder.parent)


def inspect_data(dataset: Dataset, cache_dir: Path) -> DataState:
    """Verify and fingerprint a dataset; a mistake becomes its `problem`."""
    try:
        report, found = verify.inspect(
            dataset.kind,
            dataset.path,
            most_images_to_decode=MOST_IMAGES_TO_DECODE,
            cache_dir=cache_dir,
        )
        report.raise_for_errors()
        return DataState(dataset.path, found)
    except UserError as error:
        return DataState(dataset.path, None, str(error))


def peek_at_data(dataset: Dataset, cache_dir: Path) -> DataState:
    """Inspect a dataset like `inspect_data`, but skip data that `run` would generate."""
    if dataset.generate in miniworld.PRESETS:
        preset = miniworld.PRESETS[dataset.generate]
        if not miniworld.is_generated(_world(dataset), preset):
            return DataState(dataset.path, None)
    return inspect_data(dataset, cache_dir)


def glance_at_data(dataset: Dataset, cache_dir: Path) -> DataState:
    """Fingerprint a dataset without verifying it, for runs that a command does not start."""
    try:
        if not dataset.path.is_dir():
            raise UserError(f"The folder {dataset.path} does not exist.")
        return DataState(dataset.path, fingerprint(dataset.kind, dataset.path, cache_dir=cache_dir))
    except UserError as error:
        return DataState(dataset.path, None, str(error))


def _world(dataset: Dataset) -> Path:
    """Return the folder of a dataset's miniworld.

    Raises:
        UserError: The path is not inside a folder with the preset's name.
    """
    for folder in (dataset.path, *dataset.path.parents):
        if folder.name == dataset.generate:
            return folder
    raise UserError(
        f"The dataset {dataset.path} is to be generated as {dataset.generate!r}, but lies in no "
        f"folder of that name. A path such as data/miniworld/{dataset.generate}/cls does."
    )
