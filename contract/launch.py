"""`python -m contract.launch MODULE [MODULE …]`: import a task once, and fork a process for each of its runs.

Most of a task's start is the import of its packages. This process imports them and then waits; a copy of it begins to
train at once. It uses no GPU and starts no thread, so a copy is like a new process. Further modules are those that the
task imports while it runs.

The harness holds the other end of its standard input, a socket. Each byte on it asks for one run and brings the file
descriptors of three pipes: of the request, of the output, and of the status. The request is one line of JSON:
`arguments`, `cwd` and `environment`. Its pipe then stays open: when the harness ends, the run is killed. The status has
two lines: the number of the process that leads the run's group, and the exit status.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from contract.guard import guard

# Variable of a run: MiB of program files that it shares with this process. The kernel gives a forked process a copy of
# the memory, but maps the pages of files only when they are used again; the run's peak memory would miss them.
FILES_VARIABLE = "TRICKBENCH_SHARED_FILES_MIB"
_FILES = 3


def main(arguments: Sequence[str]) -> NoReturn:
    """Import a task's module and fork its runs until the harness closes the socket."""
    name, *further = arguments
    control = socket.socket(fileno=os.dup(0))
    _point(os.open(os.devnull, os.O_RDWR), 0)
    module = _import(name)
    if not hasattr(module, "command"):
        raise AttributeError(f"{name} has no function `command`, which runs its command line")
    for other in further:
        importlib.import_module(other)
    # Without it, each run's garbage collector would look at all objects of the packages, and copy their memory.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, _reap)
    shared = f"{mapped_files_mib():.1f}"
    while True:
        word, files, _, _ = socket.recv_fds(control, 1, _FILES)
        if not word:
            # Runs go on, and nothing needs to be deleted.
            os._exit(0)
        if os.fork() == 0:
            control.close()
            _lead(module, files, shared)
        for file in files:
            os.close(file)


def _reap(number: int, frame: object) -> None:
    """Let the kernel forget the ended runs; their status goes to the harness."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _import(name: str) -> ModuleType:
    module = importlib.import_module(name)
    return importlib.import_module(f"{name}.__main__") if hasattr(module, "__path__") else module


def _lead(module: ModuleType, files: Sequence[int], shared: str) -> NoReturn:
    """Lead the group of a run: start it, and report its status."""
    stdin, output, report = files
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    _point(stdin, 0)
    os.write(report, f"{os.getpid()}\n".encode())
    request = _read_request()
    request["environment"][FILES_VARIABLE] = shared
    status = 1
    try:
        status = guard(partial(_start, module, request, output, report))
    finally:
        os.write(report, f"{status}\n".encode())
        os._exit(0)


def _read_request() -> dict[str, Any]:
    text = b""
    while not text.endswith(b"\n"):
        block = os.read(0, 1 << 16)
        if not block:  # The harness has ended.
            os._exit(1)
        text += block
    return json.loads(text)


def _start(
    module: ModuleType, request: Mapping[str, Any], output: int, report: int
) -> Callable[[], int]:
    """Fork the run; return a function that waits for its exit status.

    Args:
        module: The task's module.
        request: What to run, and where.
        output: Standard output and standard error of the run.
        report: The pipe of the status, which the run closes.
    """
    child = os.fork()
    if child:
        os.close(output)
        return lambda: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(report)
    # Those that the guard handles; a fork keeps its handlers.
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _point(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    _point(output, 2)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    _end(_run(module, request["arguments"]))


def _run(module: ModuleType, arguments: Sequence[str]) -> int:
    """Run the task's command line as `python -m` would, and return its exit status."""
    # As in a new process. `random` is seeded anew by the fork itself, and torch's first seed is a constant.
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    sys.argv = [str(Path(str(module.__file__)).resolve()), *arguments]
    try:
        return module.command()
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    return 1


def _end(status: int) -> NoReturn:
    """End the run as `multiprocessing` ends its processes: loader workers end, and objects are not deleted."""
    try:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(status)


def mapped_files_mib() -> float:
    """Return the memory of this process's mapped files in MiB; 0 on a system without /proc."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssFile:")), 0.0)


def _point(file: int, number: int) -> None:
    """Make a descriptor's file known by another number, and close the old one."""
    os.dup2(file, number)
    os.close(file)


if __name__ == "__main__":
    main(sys.argv[1:])
