"""The guard of a task's process: nothing goes on when the harness has ended."""

from __future__ import annotations

import subprocess
import sys

import psutil

from contract import guard

# Starts a process in a session of its own, as torchrun does, which starts one more.
COMMAND = """
import subprocess, sys, time
sleep = "import time; time.sleep(60)"
code = "import subprocess, sys, time; " \
    f"print(subprocess.Popen([sys.executable, '-c', {sleep!r}]).pid, flush=True); time.sleep(60)"
print(subprocess.Popen([sys.executable, "-c", code], start_new_session=True).pid, flush=True)
time.sleep(60)
"""


def test_processes_in_sessions_of_their_own_end_with_the_harness() -> None:
    # An end of the harness, even by SIGKILL, closes standard input.
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, sys.executable, "-c", COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    started = [psutil.Process(int(process.stdout.readline())) for _ in range(2)]
    process.stdin.close()
    process.stdout.close()
    process.wait(timeout=10)
    _, running = psutil.wait_procs(started, timeout=10)
    running = [one for one in running if one.status() != psutil.STATUS_ZOMBIE]
    for one in running:
        one.kill()
    assert not running
