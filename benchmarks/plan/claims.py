"""Claims: which harness works on what, on disks that several machines share.

A claim is a folder that holds one file, whose name is a random token and whose content names the owner. It needs no
file locks, which many network file systems do not have:

- **Taking.** A folder with the file is prepared beside it and renamed to the claim's name. The rename is atomic and
  fails if the name belongs to a folder that is not empty, so one of several wins.
- **Heartbeat.** The owner touches the file every `HEARTBEAT_SECONDS`. A claim is stale after `STALE_SECONDS` without a
  touch, or at once if its process was of this machine and has ended.
- **Taking over.** The file of a stale claim is deleted by its name, which no other claim has, and the claim is taken as
  above. An owner that comes back, for example after its machine was suspended, no longer finds its file: the claim is
  lost, and its work has to stop.

Ages are differences of modification times of one file system, so the clocks of the machines may differ. The limit is
longer than the minute for which NFS caches a file's times.
"""

from __future__ import annotations

import contextlib
import errno
import getpass
import os
import secrets
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from contract.errors import UserError
from contract.files import read_json, write_json

HEARTBEAT_SECONDS = 15.0
STALE_SECONDS = 180.0
CLAIMS = ".claims"
_SECONDS_BETWEEN_TRIES = 0.1
# A held claim of `hold` is certain to be stale by then, if its owner does not answer.
_PATIENCE_SECONDS = STALE_SECONDS + 60
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
_PREPARED = ".new-"
_CLOCK_SECONDS = 60.0
# Folders, with the time of this process and of the file system when it was asked for.
_clocks: dict[Path, tuple[float, float]] = {}


@dataclass(frozen=True)
class Owner:
    """The process that made a claim.

    Attributes:
        host: Name of its machine.
        pid: Its process id.
        table: The machine's start and the process table that the id belongs to; containers have tables of their own.
        started: Start time of the process, which tells it from a later one with the same id.
        user: Name of the user.
        command: Its command line.
        job: Its Slurm job; empty outside of Slurm.
    """

    host: str
    pid: int
    table: str
    started: str
    user: str = ""
    command: str = ""
    job: str = ""

    def __str__(self) -> str:
        job = f", Slurm job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}"

    def has_ended(self) -> bool:
        """Return whether the process was of this machine and has ended; False if that is not known."""
        if self.table != _table():
            return False
        start = _start_of(self.pid)
        # Where /proc hides the processes of other users, only their existence is known.
        return not psutil.pid_exists(self.pid) if start is None else start != self.started

    def is_here(self) -> bool:
        """Return whether the process runs on this machine."""
        return self.table == _table() and _start_of(self.pid) == self.started


@dataclass(frozen=True)
class Found:
    """A claim as others see it.

    Attributes:
        owner: Its owner.
        age: Seconds since the last heartbeat.
        file: Its file.
    """

    owner: Owner
    age: float
    file: Path

    @property
    def is_stale(self) -> bool:
        """Whether another process may take it over."""
        if self.owner.has_ended():
            return True
        # A suspended process of this machine still has children that write.
        return self.age > STALE_SECONDS and not self.owner.is_here()


class Claim:
    """A claim of this process, with a heartbeat until it is closed.

    Args:
        file: Its file.
        heartbeat_seconds: Time between touches; None for `HEARTBEAT_SECONDS`.
    """

    def __init__(self, file: Path, heartbeat_seconds: float | None = None) -> None:
        self._file = file
        self._lost = False
        self._closed = threading.Event()
        self._interval = HEARTBEAT_SECONDS if heartbeat_seconds is None else heartbeat_seconds
        threading.Thread(target=self._beat, daemon=True, name=f"claim {file.parent.name}").start()

    @property
    def is_lost(self) -> bool:
        """Whether another process has taken it over, as of the last heartbeat."""
        return self._lost

    def is_held(self) -> bool:
        """Touch the claim; return whether it still belongs to this process."""
        if self._lost or self._closed.is_set():
            return False
        try:
            os.utime(self._file)
        except OSError as error:
            # Other errors, such as a server that restarts, say nothing about the owner.
            self._lost = error.errno in (errno.ENOENT, errno.ESTALE, errno.ENOTDIR)
        return not self._lost

    def close(self) -> None:
        """Give it up; a claim that was taken over is left alone, because its file has another name."""
        if self._closed.is_set():
            return
        self._closed.set()
        _remove(self._file)

    def _beat(self) -> None:
        while not self._closed.wait(self._interval):
            if not self.is_held():
                return


def take(place: Path) -> Claim | None:
    """Take a claim, or take over a stale one.

    Args:
        place: Its folder; the folder around it is made if it is missing.

    Returns:
        The claim; None if another process holds it.

    Raises:
        OSError: The disk cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    found = find(place)
    if found is not None:
        if not found.is_stale:
            return None
        _remove(found.file)
    token = secrets.token_hex(8)
    prepared = place.with_name(f"{_PREPARED}{place.name}-{token}")
    prepared.mkdir()
    try:
        write_json(prepared / token, _ourselves().__dict__)
        return Claim(place / token) if _rename(prepared, place, token) else None
    finally:
        shutil.rmtree(prepared, ignore_errors=True)


def find(place: Path, now: float | None = None) -> Found | None:
    """Return the claim on a place; None if there is none.

    Args:
        place: The claim's folder.
        now: The time by the clock of the file system, see `clock`; None asks for it.
    """
    try:
        names = [name for name in os.listdir(place) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return None
    for name in names:
        file = place / name
        try:
            # NFS asks the server for the times of a file that is opened.
            with file.open("rb") as opened:
                modified = os.fstat(opened.fileno()).st_mtime
        except OSError:
            continue
        content = read_json(file) or {}
        try:
            owner = Owner(**content)
        except TypeError:
            owner = Owner("an unknown machine", 0, "", "")
        return Found(
            owner, max(0.0, (clock(place.parent) if now is None else now) - modified), file
        )
    return None


def clock(folder: Path) -> float:
    """Return the time by the clock that gives files of a folder their times.

    It is asked for once a minute. Falls back to this machine's clock in a folder that cannot be written.
    """
    known = _clocks.get(folder)
    if known is None or time.monotonic() - known[0] > _CLOCK_SECONDS:
        known = _clocks[folder] = (time.monotonic(), _ask_clock(folder))
    return known[1] + time.monotonic() - known[0]


def _ask_clock(folder: Path) -> float:
    probe = folder / f"{_PREPARED}clock-{secrets.token_hex(8)}"
    try:
        with probe.open("xb") as file:
            now = os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()
    probe.unlink(missing_ok=True)
    return now


@contextmanager
def hold(
    place: Path, waits: Callable[[Owner], None] | None = None, patience: float | None = None
) -> Iterator[None]:
    """Hold a claim for a short piece of work, and wait for it if another process has it.

    Args:
        place: The claim's folder.
        waits: Called once with the other owner, if there is one.
        patience: Seconds to wait; None for longer than a dead owner holds it.

    Raises:
        UserError: Another process held it all the time.
    """
    limit = _PATIENCE_SECONDS if patience is None else patience
    deadline, said = time.monotonic() + limit, False
    while (claim := take(place)) is None:
        found = find(place)
        if found is not None and waits is not None and not said:
            waits(found.owner)
            said = True
        if time.monotonic() > deadline:
            owner = "another process" if found is None else found.owner
            raise UserError(
                f"{owner} has worked on {place.parent.parent} for {limit:.0f} s. End it if it hangs, and run the same "
                "command again."
            )
        # Different pauses keep many processes from asking in step.
        time.sleep(_SECONDS_BETWEEN_TRIES * (0.5 + secrets.randbelow(100) / 100))
    try:
        yield
    finally:
        claim.close()


def _rename(prepared: Path, place: Path, token: str) -> bool:
    """Rename a prepared folder to the claim's name; return whether it belongs to this process now."""
    for _ in range(2):
        try:
            os.rename(prepared, place)
            return True
        except OSError as error:
            # The answer of an NFS server can get lost, and the repeated request then fails.
            if (place / token).exists():
                return True
            if error.errno not in _TAKEN:
                raise
        try:
            # Some file systems do not rename to an empty folder, which an owner leaves that dies while it closes.
            place.rmdir()
        except OSError as error:
            if error.errno != errno.ENOENT:
                return False
    return False


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()
    with contextlib.suppress(OSError):
        file.parent.rmdir()


@cache
def _table() -> str:
    """Return what is unique to this start of this machine, and to its table of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {psutil.boot_time():.0f}"


def _start_of(pid: int) -> str | None:
    """Return when a process started, `ended` for one that only waits for its parent; None if that is not known."""
    try:
        # Unlike psutil's time, these ticks since the start of the machine do not move when its clock is set.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        after_name = fields.rpartition(")")[2].split()
        return "ended" if after_name[0] in "ZX" else after_name[19]
    except OSError:
        pass
    try:
        return f"{psutil.Process(pid).create_time():.0f}"
    except psutil.Error:
        return None


def _ourselves() -> Owner:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # An id without a name, as in containers.
        user = str(os.getuid())
    pid = os.getpid()
    return Owner(
        host=socket.gethostname(),
        pid=pid,
        table=_table(),
        started=_start_of(pid) or "",
        user=user,
        command=" ".join(sys.argv),
        job=slurm_job(),
    )


def slurm_job() -> str:
    """Return the Slurm job of this process, as `12` or `12_3`; empty outside of Slurm."""
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{index}" if array and index else os.environ.get("SLURM_JOB_ID", "")
