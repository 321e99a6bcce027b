"""Checks before anything is trained: names, backbones, data.

A wrong name stops the command, because it is the command's or the suite's mistake. Wrong data only
stop the cells that need them.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.identity import RECIPES, STAGE_CONFIGS, code_digest, tricks_folders
from benchmarks.machine import cpu_cores
from benchmarks.suite import Dataset, Suite
from contract.errors import UserError, unknown
from contract.files import read_json, write_json
from contract.settings import package_versions
from datasets import miniworld, verify

# Above, only headers are read before a run: decoding ImageNet takes longer than a person would
# wait.
MOST_IMAGES_TO_DECODE = 50_000

Describe = Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True)
class DataState:
    """What is known of a dataset before the cells run.

    Args:
        root: Its folder.
        fingerprint: Hash of its files; None where there is nothing to hash.
        problem: Why no cell can use it, in a sentence; None where all is well.
    """

    root: Path
    fingerprint: str | None
    problem: str | None = None


def names_in(folder: Path) -> list[str]:
    """Returns the names of the configs, recipes or tricks in a folder."""
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def available_tricks(root: Path, stage: str = "cls") -> list[str]:
    """Returns the tricks that this version has for a stage."""
    found = {name for folder in tricks_folders(stage) for name in names_in(root / folder)}
    return sorted(found)


def check_names(suite: Suite, root: Path) -> None:
    """Checks that every config, recipe, trick and weights file that a suite names exists.

    Raises:
        UserError: Some do not; all are listed at once.
    """
    problems = []
    for name, stage in suite.stages.items():
        if not (root / stage.config).is_file():
            folder = STAGE_CONFIGS[name]
            known = [(folder / f"{entry}.py").as_posix() for entry in names_in(root / folder)]
            problems.append(f"stage {name!r}: {unknown('config', stage.config, known)}")
        known = available_tricks(root, name)
        problems += [
            f"stage {name!r}: {unknown('trick', trick, known)}"
            for trick in stage.tricks
            if trick not in known
        ]
    recipes = names_in(root / RECIPES)
    for row in (*suite.teachers, *suite.rows):
        if row.recipe is not None and row.recipe not in recipes:
            problems.append(f"row {row.name!r}: {unknown('recipe', row.recipe, recipes)}")
        for name in STAGE_CONFIGS:
            known = available_tricks(root, name)
            problems += [
                f"row {row.name!r}: {unknown('trick', trick, known)}"
                for trick in row.tricks_of(name)
                if trick not in known and trick not in row.requires
            ]
        if row.weights is not None and not row.published and not row.weights.is_file():
            problems.append(
                f"row {row.name!r}: there is no checkpoint {row.weights}. Give the path of a "
                "backbone.safetensors file, or 'published' for what timm or torchvision publishes."
            )
    if problems:
        raise UserError("\n".join(problems))


def fetch_published(suite: Suite, root: Path, say: Callable[[str], None]) -> None:
    """Makes hand-offs of published weights that rows ask for and that are not there yet.

    Raises:
        UserError: They cannot be had.
    """
    wanted = {row.weights: row.backbone for row in suite.rows if row.published and row.weights}
    for path, spec in wanted.items():
        if path.is_file():
            continue
        say(f"Fetching the published weights of {spec} into {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        _ask_backbones(["import", spec, "published", "--out", str(path)], root)


def describe_backbones(
    specs: Iterable[str], root: Path, cache_dir: Path, describe: Describe | None = None
) -> dict[str, Mapping[str, Any]]:
    """Asks `backbones` for the size of each spec, which also tells whether it exists.

    Answers are kept until the code of `backbones` or a package changes.

    Args:
        specs: The specs to ask for.
        root: The repository.
        cache_dir: Where the answers are kept.
        describe: Asks for one spec; None for the command line of `backbones`.

    Returns:
        By spec, what `python -m backbones describe SPEC --json` prints.

    Raises:
        UserError: Some specs are unknown; all are listed at once.
    """
    state = [code_digest(root / "backbones"), *sorted(package_versions().items())]
    key = hashlib.sha256(repr(state).encode()).hexdigest()
    path = cache_dir / "backbones.json"
    stored = read_json(path) or {}
    known: dict[str, Any] = stored.get("specs", {}) if stored.get("key") == key else {}

    def ask(spec: str) -> Mapping[str, Any] | UserError:
        try:
            return describe(spec) if describe else _describe(spec, root)
        except UserError as error:
            return error

    missing = sorted(set(specs) - set(known))
    with ThreadPoolExecutor(max_workers=cpu_cores()) as pool:
        answers = dict(zip(missing, pool.map(ask, missing), strict=True))
    known |= {spec: answer for spec, answer in answers.items() if not isinstance(answer, UserError)}
    if missing:
        write_json(path, {"key": key, "specs": known})
    problems = [str(answer) for answer in answers.values() if isinstance(answer, UserError)]
    if problems:
        raise UserError("\n".join(problems))
    return known


def _describe(spec: str, root: Path) -> Mapping[str, Any]:
    return json.loads(_ask_backbones(["describe", spec, "--json"], root))


def _ask_backbones(words: list[str], root: Path) -> str:
    """Returns what a command of `backbones` prints; a user's mistake in it becomes ours."""
    command = [sys.executable, "-m", "backbones", *words]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if answer.returncode == 2:
        raise UserError(answer.stderr.rsplit("error: ", 1)[-1].strip())
    if answer.returncode != 0:
        raise RuntimeError(f"`{' '.join(command)}` failed:\n{answer.stderr}")
    return answer.stdout


def generate_missing(datasets: Iterable[Dataset], say: Callable[[str], None]) -> None:
    """Generates the miniworlds that datasets name and that are missing or of an older version."""
    worlds = {(dataset.generate, _world(dataset)) for dataset in datasets if dataset.generate}
    for preset, folder in sorted(worlds, key=str):
        known = miniworld.PRESETS
        if preset not in known:
            raise unknown("miniworld preset", str(preset), known)
        if not miniworld.is_generated(folder, known[preset]):
            say(f"Generating the data set {preset} in {folder}")
            miniworld.prepare(preset, folder.parent)


def inspect_data(dataset: Dataset, cache_dir: Path) -> DataState:
    """Verifies a dataset and hashes it; a mistake in it is kept as a sentence."""
    try:
        report, fingerprint = verify.inspect(
            dataset.kind,
            dataset.path,
            most_images_to_decode=MOST_IMAGES_TO_DECODE,
            cache_dir=cache_dir,
        )
        report.raise_for_errors()
        return DataState(dataset.path, fingerprint)
    except UserError as error:
        return DataState(dataset.path, None, str(error))


def peek_at_data(dataset: Dataset, cache_dir: Path) -> DataState:
    """Does as `inspect_data`, but leaves data that `run` would generate for later."""
    if dataset.generate in miniworld.PRESETS:
        preset = miniworld.PRESETS[dataset.generate]
        if not miniworld.is_generated(_world(dataset), preset):
            return DataState(dataset.path, None)
    return inspect_data(dataset, cache_dir)


def _world(dataset: Dataset) -> Path:
    """Returns the folder of the miniworld that a dataset is a part of.

    Raises:
        UserError: The path does not lie in a folder of the preset's name.
    """
    for folder in (dataset.path, *dataset.path.parents):
        if folder.name == dataset.generate:
            return folder
    raise UserError(
        f"The data set {dataset.path} is to be generated as {dataset.generate!r}, but lies in no "
        f"folder of that name. A path such as data/miniworld/{dataset.generate}/cls does."
    )
