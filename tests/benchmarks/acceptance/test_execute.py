"""Commands with a time limit: how they ended, and that nothing of them goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.acceptance.execute import Outcome, execute, last_line

# Starts a process in a session of its own, as torchrun does with its workers, and names it.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep({seconds})
"""


def run(folder: Path, code: str, **options: Any) -> Outcome:
    settings = {"limit_seconds": 20.0, **options}
    return execute([sys.executable, "-c", code], log=folder / "log.txt", cwd=folder, **settings)


def test_success(tmp_path: Path) -> None:
    outcome = run(tmp_path, "import os; print(os.environ['WORD'])", environment={"WORD": "hello"})
    assert (outcome.status, outcome.output, outcome.problem) == (0, "hello\n", None)


def test_failure_quotes_the_last_line(tmp_path: Path) -> None:
    outcome = run(tmp_path, "print('before'); raise ValueError('no such layer')")
    assert outcome.problem == "exit status 1; last line: ValueError: no such layer"


def test_crash_names_the_signal(tmp_path: Path) -> None:
    code = "import os, signal; print('at work', flush=True); os.kill(os.getpid(), signal.SIGSEGV)"
    assert run(tmp_path, code).problem == "signal 11 ended it; last line: at work"


def test_hang_ends_with_all_its_processes(tmp_path: Path) -> None:
    outcome = run(tmp_path, PARENT.format(seconds=60), limit_seconds=3.0)
    assert outcome.status is None
    child = outcome.output.strip()
    assert outcome.problem == f"it did not end within 3 s; last line: {child}"
    assert not is_running(int(child))


def test_processes_that_remain_are_ended(tmp_path: Path) -> None:
    outcome = run(tmp_path, PARENT.format(seconds=1.5))
    assert outcome.status == 0
    assert not is_running(int(outcome.output))


def test_kill_on_demand(tmp_path: Path) -> None:
    code = "import pathlib, time; pathlib.Path('half').touch(); time.sleep(60)"
    outcome = run(tmp_path, code, until=(tmp_path / "half").is_file)
    assert outcome.stopped and outcome.status is None and outcome.seconds < 20


def test_time_of_a_message(tmp_path: Path) -> None:
    code = "import time; time.sleep(0.5); print('it broke', flush=True); time.sleep(1)"
    outcome = run(tmp_path, code, mark="it broke")
    assert outcome.marked_seconds is not None
    # A message that is only seen at the end has the time of the end.
    assert 0.5 <= outcome.marked_seconds < outcome.seconds


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("", "no output"),
        ("error: the image is damaged\nRoot Cause (first observed failure):\n=====\n", "error: the image is damaged"),
        ("a\nb\n-----\n", "b"),
        ("x" * 300, "x" * 200 + "…"),
    ],
)  # fmt: skip
def test_last_line(output: str, line: str) -> None:
    assert last_line(output) == line


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
