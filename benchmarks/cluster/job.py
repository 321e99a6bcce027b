"""What a Slurm job calls. It holds only strings, so a job that waits survives changes of the code."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

from contract import guard

# Asks the command to store checkpoints and to end.
_STOP = signal.SIGTERM
_GUARD = str(guard.__file__)


class RunJob:
    """Trains one run with the command line of this repository.

    Slurm's time limit and submitit's preemption signal reach `checkpoint` through submitit; a job that is cancelled,
    requeued or preempted gets SIGTERM. Both pass the wish to end on and wait for the command.

    Args:
        command: The words after `python -m benchmarks`.
        folder: The working directory.
        variables: Environment variables of the command.
    """

    def __init__(
        self, command: Sequence[str], folder: str, variables: Mapping[str, str] | None = None
    ) -> None:
        self.command = list(command)
        self.folder = folder
        self.variables = dict(variables or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_process": None}

    def __call__(self) -> None:
        """Train the run, and end with the command's exit status."""
        # The guard ends the command if this process is killed, where Slurm does not track its children.
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", _GUARD),
                *(sys.executable, "-m", "benchmarks"),
                *self.command,
            ],
            cwd=self.folder,
            env={**os.environ, **self.variables},
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        # submitit only notes SIGTERM in its log.
        signal.signal(signal.SIGTERM, self._pass_on)
        _wait_for(self._process.pid)
        status = self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        if status != 0:
            # No traceback: the command has printed the reason, and Slurm sees the failure.
            sys.stdout.flush()
            sys.exit(status if status > 0 else 128 - status)

    def checkpoint(self) -> Any:
        """Let the run store its state, and return what continues it; submitit then requeues the job."""
        import submitit.helpers

        self._stop()
        if self._process is not None:
            _wait_for(self._process.pid)
        return submitit.helpers.DelayedSubmission(self)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            # To the group, because the guard itself takes no signals.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, _STOP)


def _wait_for(pid: int) -> None:
    """Wait until a child has ended, and leave its exit status where it is.

    `Popen.wait` holds a lock, so a signal handler that interrupts it must not call it again.
    """
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
