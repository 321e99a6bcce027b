"""`python -m benchmarks doctor`: what this machine and its packages offer, and what would stop each suite."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.machine import choose_slots, visible_gpus
from benchmarks.preflight import check_names
from benchmarks.setup_environment import extras, read_requirements, unmet
from benchmarks.suite import Dataset, Suite, load_suite, suite_names
from contract.errors import UserError
from datasets.prepare.catalogue import SETS

SPARE_DISK_GIB = 5
GIB = 1024**3
# What was found is as it must be; is to be mended before anything runs; or is for the reader to know.
OK, MEND, NOTE = "ok", "mend this", ""
_STYLES = {OK: "ok", MEND: "[bold red]mend this[/]", NOTE: ""}

Finding = tuple[str, str, str]


def examine(console: Console, root: Path) -> int:
    """Prints what was found.

    Args:
        console: Where to print.
        root: The repository.

    Returns:
        0 if suites can run here, also where some want data that are not there yet; else 1.
    """
    findings = [*_python(root), *_machine(root), *_stages(root)]
    amiss = [what for what, _, state in findings if state == MEND]
    findings += [*_data(), *_suites(root, amiss)]
    table = Table("what", "found", "", box=None, pad_edge=False)
    for what, found, state in findings:
        table.add_row(what, escape(found), _STYLES[state])
    console.print(table)
    return 1 if any(state == MEND for _, _, state in findings) else 0


def _python(root: Path) -> Iterator[Finding]:
    supported = (3, 10) <= sys.version_info[:2] <= (3, 12)
    found = f"{platform.python_version()} ({sys.executable})"
    yield "Python", found if supported else f"{found}; take 3.10, 3.11 or 3.12", _ok(supported)
    pyproject = root / "pyproject.toml"
    problems = unmet(read_requirements(pyproject))
    text = "as pyproject.toml asks" if not problems else "; ".join(problems)
    yield "packages", text, _ok(not problems)
    for name, requirements in extras(pyproject).items():
        lacking = unmet(requirements)
        text = "installed" if not lacking else f"not installed: {'; '.join(lacking)}"
        yield f"optional: {name}", text, OK if not lacking else NOTE


def _machine(root: Path) -> Iterator[Finding]:
    slots = choose_slots(None)
    yield "processor", f"{platform.machine()}, {slots.reason}", OK
    gpus = visible_gpus()
    yield "GPUs", f"{len(gpus)} ({', '.join(gpus)})" if gpus else "none; the CPU is used", OK
    yield "cells at a time", f"{slots.jobs}, {slots.threads} threads each", OK
    free = shutil.disk_usage(root).free / GIB
    yield "free disk", f"{free:.0f} GiB (wanted: {SPARE_DISK_GIB})", _ok(free >= SPARE_DISK_GIB)


def _stages(root: Path) -> Iterator[Finding]:
    """Asks the stages' own code, which the harness does not import, what it found."""
    if not (root / "engine" / "doctor.py").is_file():
        return
    command = [sys.executable, "-m", "engine.doctor", "--json"]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or ["no output"])[-1]
        yield "stages", f"`python -m engine.doctor` failed: {last}", MEND
        return
    for key, value in json.loads(answer.stdout).items():
        yield key.replace("_", " "), str(value), OK


def _data() -> Iterator[Finding]:
    """Says of every folder that a suite's full runs read whether it is there."""
    folders: dict[Path, Dataset] = {}
    for suite in _readable_suites():
        folders |= {dataset.path: dataset for dataset in _used(suite)}
    for path, dataset in sorted(folders.items()):
        if path.is_dir():
            yield "data", f"{path} is there", OK
        elif dataset.generate:
            yield "data", f"{path} will be generated", OK
        else:
            yield "data", _lacking(path), NOTE


def _lacking(path: Path) -> str:
    """Says that data are not there, how they are had, and whether the disk has room for them."""
    known = next((entry for entry in SETS.values() if entry.folder == path.name), None)
    if known is None:
        return f"{path} is not there"
    text = f"{path} is not there; python -m benchmarks data prepare {known.name}"
    needed = known.unpacked_bytes + sum(archive.size_bytes for archive in known.archives.values())
    existing = next(folder for folder in path.parents if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        text += f" takes {needed / GIB:.0f} GiB, and {free / GIB:.0f} GiB are free"
    return text


def _suites(root: Path, amiss: Sequence[str]) -> Iterator[Finding]:
    """Groups the suites by what would stop their full runs; what is amiss above stops them all."""
    if amiss:
        yield "suites", f"all: {', '.join(amiss)} must be mended first", MEND
    groups: dict[tuple[str, str], list[str]] = {}
    for name in suite_names():
        groups.setdefault(_obstacle(name, root), []).append(name)
    for (text, state), names in sorted(groups.items(), key=lambda group: group[0][1] != OK):
        yield "suites", f"{', '.join(names)}: {text}", state


def _obstacle(name: str, root: Path) -> tuple[str, str]:
    """Says what stops a suite, and how grave that is."""
    try:
        suite = load_suite(name)
        check_names(suite, root)
    except UserError as error:
        return " ".join(str(error).split()), MEND
    missing = [d for d in _used(suite) if not d.path.is_dir() and not d.generate]
    if not missing:
        return "data, configs and tricks are there", OK
    folders = ", ".join(dict.fromkeys(dataset.path.name for dataset in missing))
    smoke = [suite.smoke_datasets[stage.data] for stage in suite.stages.values()]
    generated = all(dataset.path.is_dir() or dataset.generate for dataset in smoke)
    also = "; `--budget smoke` runs without" if generated else ""
    return f"full runs need {folders}{also}", NOTE


def _readable_suites() -> Iterator[Suite]:
    """Yields the suites that can be read; of the others `_suites` tells."""
    for name in suite_names():
        try:
            yield load_suite(name)
        except UserError:
            continue


def _used(suite: Suite) -> Iterable[Dataset]:
    return [suite.datasets[stage.data] for stage in suite.stages.values()]


def _ok(good: bool) -> str:
    return OK if good else MEND
