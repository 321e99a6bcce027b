"""Run all checks, print a line for each, and write the file for bug reports."""

from __future__ import annotations

import getpass
import os
import platform
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.acceptance import (
    engine_checks,
    gpu_tests,
    machine,
    processes,
    resume,
    trainings,
)
from benchmarks.acceptance.perform import Check, perform
from benchmarks.acceptance.session import Session
from contract.acceptance import SCHEMA_VERSION, Document, Line
from contract.files import write_json
from contract.machine import cpu_cores
from contract.settings import git_state, package_versions
from datasets.miniworld.world import prepare

_STYLES = {"ok": "green", "failed": "bold red", "skipped": "dim", "note": "yellow"}
_FACTS_SECONDS = 120.0
# Names that are words of reports, and tell nothing about a user.
_HARMLESS = {"root", "user", "runner", "docker", "ubuntu"}

Finding = tuple[str, str, str]


def accept(
    console: Console,
    root: Path,
    *,
    device: str = "auto",
    findings: Sequence[Finding] = (),
    repair: bool = False,
    target: Path | None = None,
) -> int:
    """Check that everything works on this machine.

    Args:
        console: Where to print.
        root: The repository.
        device: `auto`, `cpu` or `cuda`.
        findings: What `doctor` found before.
        repair: Whether one of them must be repaired.
        target: The file for bug reports; None writes none.

    Returns:
        0 if nothing failed, else 1.
    """
    started = time.monotonic()
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="trickbench-", ignore_cleanup_errors=True) as folder:
        session = Session(
            root=root,
            folder=Path(folder),
            device="cpu" if device == "cpu" else "cuda",
            data=Path(folder),
            cores=cpu_cores(),
        )
        for line in _all_lines(session, device):
            lines.append(line)
            print_result(console, line)
    seconds = time.monotonic() - started
    status = 1 if repair or any(line.verdict == "failed" for line in lines) else 0
    counts = {verdict: sum(line.verdict == verdict for line in lines) for verdict in _STYLES}
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    console.print(f"\n{len(lines)} checks in {seconds:.0f} s: {summary}", highlight=False)
    if target is not None:
        write_json(target, document(session, lines, findings, seconds, status))
        console.print(f"written: {target}", highlight=False, soft_wrap=True)
    return status


def _all_lines(session: Session, device: str) -> Iterator[Line]:
    """Find the device, generate the data, and perform all checks."""
    yield from perform([Check("device", lambda: _device(session, device), _FACTS_SECONDS + 30)], 1)

    def generate() -> Iterator[Line]:
        session.data = prepare("mini-smoke", session.folder / "data", session.cores)
        found = f"{sum(path.is_file() for path in session.data.rglob('*'))} files"
        yield Line(check="generated images", found=found, expected="a miniworld", verdict="ok")

    yield from perform([Check("generated images", generate)], 1)
    yield from perform(all_checks(session), session.jobs)
    yield from perform(trainings.comparisons(session), session.jobs)


def all_checks(session: Session) -> list[Check]:
    """Return the checks that need nothing of each other, those that are quick first."""
    return [
        *machine.checks(session),
        *engine_checks.checks(session),
        *trainings.checks(session),
        *resume.checks(session),
        *processes.checks(session),
        *gpu_tests.checks(session),
        *engine_checks.speed(session),
    ]


def _device(session: Session, requested: str) -> Iterator[Line]:
    """Ask torch for the device; the other checks go on with the CPU if it cannot use the requested one."""
    yield from session.ask_engine("device", "--device", requested, limit_seconds=_FACTS_SECONDS)
    session.device = session.facts.get("type", "cpu")


def print_result(console: Console, line: Line) -> None:
    """Print one line: verdict, check, what was found, what was expected."""
    table = Table(box=None, pad_edge=False, show_header=False, expand=True)
    table.add_column(width=7, no_wrap=True)
    table.add_column(ratio=5)
    table.add_column(ratio=8)
    table.add_column(ratio=7, style="dim")
    table.add_column(width=6, justify="right", style="dim")
    seconds = "" if line.seconds is None else f"{line.seconds:.0f} s"
    verdict = f"[{_STYLES[line.verdict]}]{line.verdict}[/]"
    table.add_row(verdict, escape(line.check), escape(line.found), escape(line.expected), seconds)
    console.print(table)


def document(
    session: Session,
    lines: Iterable[Line],
    findings: Sequence[Finding],
    seconds: float,
    status: int,
) -> dict[str, Any]:
    """Return the content of the file for bug reports: without names of users and machines, or paths at home."""
    sha, dirty = git_state()
    driver = machine.query("--query-gpu=name,driver_version,memory.total,memory.free")
    content = {
        "schema_version": SCHEMA_VERSION,
        "code": {"git_sha": sha, "dirty": dirty},
        "packages": dict(package_versions()),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "device": {**session.facts, "cores": session.cores},
        "driver": {"gpus": driver} if isinstance(driver, list) else {},
        "findings": [list(finding) for finding in findings],
        "checks": [line.model_dump(mode="json") for line in lines],
        "seconds": round(seconds, 1),
        "exit_status": status,
    }
    cleaned = _clean(content, _private(session))
    return Document.model_validate(cleaned, strict=False).model_dump(mode="json")


def _private(session: Session) -> list[tuple[re.Pattern[str], str]]:
    """Return what must not be in the file, with its replacement; longer paths come first."""
    paths = {str(session.folder): "<temporary>", str(session.root): "<repository>"}
    paths |= {os.path.realpath(path): word for path, word in paths.items()}
    paths[str(Path.home())] = "~"
    patterns = [
        (re.compile(re.escape(path)), word)
        for path, word in sorted(paths.items(), key=lambda item: -len(item[0]))
        if path != "/"
    ]
    patterns.append((re.compile(r"/(?:home|Users)/[^/\s'\"]+"), "~"))
    for name in {_user(), platform.node()} - _HARMLESS - {""}:
        patterns.append((re.compile(rf"\b{re.escape(name)}\b"), "<name>"))
    return patterns


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return ""


def _clean(value: Any, private: Sequence[tuple[re.Pattern[str], str]]) -> Any:
    if isinstance(value, str):
        for pattern, word in private:
            value = pattern.sub(word, value)
        return value
    if isinstance(value, dict):
        return {key: _clean(one, private) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(one, private) for one in value]
    return value
