"""`python -m benchmarks doctor`: check this machine, its packages and what each suite needs."""

from __future__ import annotations

import argparse
import errno
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.acceptance.accept import accept
from benchmarks.acceptance.machine import SHARED_BYTES_PER_RUN, SHARED_MEMORY, claim_problem
from benchmarks.commands.request import make_console
from benchmarks.plan.compute import as_compute
from benchmarks.plan.machine import choose_slots, memory_bytes
from benchmarks.plan.preflight import check_names
from benchmarks.suite.load import load_suite, suite_names
from benchmarks.suite.model import Suite
from benchmarks.suite.names import ROOT
from contract.errors import UserError
from contract.machine import cpu_cores
from datasets.prepare.catalogue import SETS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

SPARE_DISK_GIB = 5
GIB = 1024**3
# States of a finding: fine, must be repaired before anything runs, or for information.
OK, REPAIR, NOTE = "ok", "repair this", ""
# By the names in `engine.doctor`.
STATES = {"ok": OK, "repair": REPAIR, "note": NOTE}
_STYLES = {OK: "ok", REPAIR: f"[bold red]{REPAIR}[/]", NOTE: ""}
# A full mmcv, with compiled ops, can replace mmcv-lite.
_STAND_INS = {"mmcv-lite": "mmcv"}

Finding = tuple[str, str, str]


def doctor(options: argparse.Namespace) -> int:
    """Check this machine and print the findings; with `--full`, try everything."""
    console = make_console()
    if not options.full:
        if options.json is not None or options.device != "auto":
            raise UserError("--json and --device were given without --full, which they belong to")
        return examine(console, ROOT)
    if options.json is not None:
        _check_target(options.json)
    findings = print_findings(console, ROOT)
    console.print()
    return accept(
        console,
        ROOT,
        device=options.device,
        findings=findings,
        repair=any(state == REPAIR for _, _, state in findings),
        target=options.json,
    )


def _check_target(file: Path) -> None:
    """Check that a file can be written, before minutes of checks whose results it will hold.

    Raises:
        UserError: It cannot.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise UserError(
            f"--json {file} was given, but this file cannot be written ({error.strerror}); name a file in a folder "
            "that can be written"
        ) from error


def examine(console: Console, root: Path) -> int:
    """Print the findings.

    Returns:
        0 if suites can run here, even if some still need data; else 1.
    """
    findings = print_findings(console, root)
    return 1 if any(state == REPAIR for _, _, state in findings) else 0


def print_findings(console: Console, root: Path) -> list[Finding]:
    """Print the findings and return them.

    Args:
        console: Where to print.
        root: The repository.
    """
    tasks, gpus = _tasks(root)
    findings = [*_python(root), *_machine(root, gpus), *tasks]
    wrong = [what for what, _, state in findings if state == REPAIR]
    findings += [*_data(), *_suites(root, wrong)]
    table = Table("what", "found", "", box=None, pad_edge=False)
    for what, found, state in findings:
        table.add_row(what, escape(found), _STYLES[state])
    console.print(table)
    return findings


def _python(root: Path) -> Iterator[Finding]:
    supported = (3, 10) <= sys.version_info[:2] <= (3, 12)
    found = f"{platform.python_version()} ({sys.executable})"
    yield "Python", found if supported else f"{found}; take 3.10, 3.11 or 3.12", _ok(supported)
    project = _project(root / "pyproject.toml")
    problems = unmet(project.get("dependencies", []))
    text = "as pyproject.toml asks" if not problems else "; ".join(problems)
    yield "packages", text, _ok(not problems)
    for name, requirements in project.get("optional-dependencies", {}).items():
        missing = unmet(requirements)
        text = "installed" if not missing else f"not installed: {'; '.join(missing)}"
        yield f"optional: {name}", text, OK if not missing else NOTE


def _project(pyproject: Path) -> dict[str, Any]:
    return tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]


def unmet(requirements: Sequence[str]) -> list[str]:
    """Return the requirements that the running Python does not meet, with the installed versions."""
    problems = []
    for text in requirements:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        names = [wanted.name, *filter(None, [_STAND_INS.get(wanted.name)])]
        found = [version for version in map(_installed, names) if version is not None]
        # Builds such as 2.11.0a0+cu130 count as 2.11.0.
        if not any(wanted.specifier.contains(Version(v).base_version) for v in found):
            problems.append(f"{text} ({'found ' + found[0] if found else 'not installed'})")
    return problems


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _machine(root: Path, gpus: Sequence[str]) -> Iterator[Finding]:
    slots = choose_slots(None, gpus)
    yield "processor", f"{platform.machine()}, {cpu_cores()} cores", OK
    yield "memory", f"{memory_bytes() / GIB:.0f} GiB", OK
    yield "runs at a time", f"{slots.jobs} ({slots.reason}), {slots.threads} threads each", OK
    yield from _shared_memory(slots.jobs if gpus else 1)
    free = shutil.disk_usage(root).free / GIB
    yield "free disk", f"{free:.0f} GiB (wanted: {SPARE_DISK_GIB})", _ok(free >= SPARE_DISK_GIB)
    yield "claims of runs", *_claims(root / "runs" if (root / "runs").is_dir() else root)


def _shared_memory(runs: int) -> Iterator[Finding]:
    """Compare the shared memory with what the loaders of a full-size classifier need."""
    if not SHARED_MEMORY.is_dir():
        return
    free, needed = shutil.disk_usage(SHARED_MEMORY).free, runs * SHARED_BYTES_PER_RUN
    text = f"{free / GIB:.1f} GiB in {SHARED_MEMORY}"
    if free >= needed:
        yield "shared memory", text, OK
        return
    size = math.ceil(needed / GIB)
    yield (
        "shared memory",
        f"{text}; loaders at ImageNet's size need {needed / GIB:.1f} GiB for {runs} run(s), and without it a worker "
        f"dies with a bus error: start the container with --shm-size={size}g, or take fewer workers",
        NOTE,
    )


def _claims(folder: Path) -> tuple[str, str]:
    """Try to claim a run as `run` does."""
    problem = claim_problem(folder)
    return (f"work in {folder}", OK) if problem is None else (problem, REPAIR)


def _tasks(root: Path) -> tuple[list[Finding], tuple[str, ...]]:
    """Run `engine.doctor` in a process, because the harness does not import the tasks' code.

    Returns:
        The findings, and the GPUs that runs use.
    """
    if not (root / "engine" / "doctor.py").is_file():
        return [], ()
    command = [sys.executable, "-m", "engine.doctor", "--json"]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or ["no output"])[-1]
        return [("tasks", f"`python -m engine.doctor` failed: {last}", REPAIR)], ()
    found = json.loads(answer.stdout.splitlines()[-1])
    findings = [(one["what"], one["found"], STATES[one["state"]]) for one in found["findings"]]
    return findings, as_compute(found["machine"], {}).gpu_ids


def _data() -> Iterator[Finding]:
    """Yield for each data folder of full runs whether it exists."""
    folders = {
        dataset.path: dataset
        for suite in _readable_suites()
        for dataset in suite.used_datasets.values()
    }
    for path, dataset in sorted(folders.items()):
        if path.is_dir():
            yield "data", f"{path} is there", OK
        elif dataset.generate:
            yield "data", f"{path} will be generated", OK
        else:
            yield "data", _missing(path), NOTE


def _missing(path: Path) -> str:
    """Describe missing data: how to get them, and whether the disk has enough space."""
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


def _suites(root: Path, wrong: Sequence[str]) -> Iterator[Finding]:
    """Group the suites by the obstacle to their full runs; a problem above stops all of them."""
    if wrong:
        yield "suites", f"all: {', '.join(wrong)} must be repaired first", REPAIR
    groups: dict[tuple[str, str], list[str]] = {}
    for name in suite_names():
        groups.setdefault(_obstacle(name, root), []).append(name)
    for (text, state), names in sorted(groups.items(), key=lambda group: group[0][1] != OK):
        yield "suites", f"{', '.join(names)}: {text}", state


def _obstacle(name: str, root: Path) -> tuple[str, str]:
    """Return the obstacle to a suite's full runs, and its state."""
    try:
        suite = load_suite(name)
        check_names(suite, root)
    except UserError as error:
        return " ".join(str(error).split()), REPAIR
    missing = [d for d in suite.used_datasets.values() if not d.path.is_dir() and not d.generate]
    if not missing:
        return "data, configs and tricks are there", OK
    folders = ", ".join(dict.fromkeys(dataset.path.name for dataset in missing))
    smoke = [suite.smoke_datasets[setup.data] for setup in suite.tasks.values()]
    generated = all(dataset.path.is_dir() or dataset.generate for dataset in smoke)
    also = "; `--budget smoke` runs without" if generated else ""
    return f"full runs need {folders}{also}", NOTE


def _readable_suites() -> Iterator[Suite]:
    """Yield the suites that can be read; `_suites` reports the others."""
    for name in suite_names():
        try:
            yield load_suite(name)
        except UserError:
            continue


def _ok(good: bool) -> str:
    return OK if good else REPAIR
