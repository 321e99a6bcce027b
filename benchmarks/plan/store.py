"""The store of finished work by identity; run folders are views of it.

`<parent of a run folder>/store/<identity>/` is the work dir of a run while it trains and afterwards. A run folder's
`cells/ROW/TASK/seed-N/` contains hard links to its files (copies if the disk does not support links); of the
checkpoints it contains only the last one, and only as a link. Thus a result is reused in every run folder that plans
it, and by settings that are changed back.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from benchmarks.plan.claims import CLAIMS, Claim, Found, find, take
from contract.files import read_json, write_json
from contract.result import CHECKPOINT_FILE, RESULT_FILE

RUN_FILE = "run.json"
FAILURE_FILE = "failure.json"
LOG_FILE = "stage.log"
# The last progress report; hidden, so that it is not shown in run folders.
PROGRESS_FILE = ".progress.json"
# The name of `RUN_FILE` before there was a store.
_OLD_RUN_FILE = "cell.json"
_STORE = "store"
# Resume checkpoints, and mmengine's log folders.
_NOT_IN_VIEWS = ("*.pth", "last_checkpoint", "job.json", "20??????_??????*", ".*")


@dataclass(frozen=True)
class RunKey:
    """The key of a run: one row × one task × one seed."""

    row: str
    task: str
    seed: int

    @property
    def path(self) -> Path:
        """The run's folder, relative to the run folder."""
        return Path("cells", self.row, self.task, f"seed-{self.seed}")

    def __str__(self) -> str:
        return f"{self.row} · {self.task} · seed {self.seed}"


class Store:
    """The finished and interrupted work beside a run folder.

    Args:
        run_dir: The run folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self.root = run_dir.parent / _STORE

    def folder(self, identity: str) -> Path:
        """Return the work dir of an identity."""
        return self.root / identity

    def view(self, key: RunKey) -> Path:
        """Return the folder of a run in the run folder."""
        return self._run_dir / key.path

    def lock(self, identity: str) -> Claim | None:
        """Claim an identity, which keeps two harnesses from training it at once.

        Returns:
            The claim; None if another process holds it.

        Raises:
            OSError: The disk cannot be written.
        """
        claim = take(self._claim(identity))
        if claim is not None:
            # NFS forgets that a file was missing when its folder changes; another machine may have written a result.
            with contextlib.suppress(OSError):
                os.utime(self.folder(identity))
        return claim

    def holder(self, identity: str) -> Found | None:
        """Return the claim on an identity; None if there is none."""
        return find(self._claim(identity))

    def _claim(self, identity: str) -> Path:
        return self.root / CLAIMS / identity

    def make_way(self, key: RunKey, identity: str) -> None:
        """Remove a view of another identity from the run folder.

        Nothing is lost, because a view's files are in the store. A folder whose files are not in the store (older
        than the store, or the store was deleted) is moved there; without an identity it is moved to `stale/`.
        """
        folder = self.view(key)
        shown = identity_in(folder)
        is_view = (folder / RUN_FILE).is_file()
        if not folder.is_dir() or (
            shown == identity and is_view and self.folder(identity).is_dir()
        ):
            return
        if shown is None:
            if any(path.name != FAILURE_FILE for path in folder.iterdir()):
                self._set_aside(folder, key)
            return
        kept = self.folder(shown)
        if is_view and kept.exists():
            self._remove_view(folder)
        elif not kept.exists() and (not is_view or (folder / RESULT_FILE).is_file()):
            self._move_in(folder, kept)
        else:
            self._set_aside(folder, key)

    def show(self, key: RunKey, identity: str) -> None:
        """Update a run's view; its result is added last, so an incomplete view does not count as finished."""
        source, folder = self.folder(identity), self.view(key)
        self.make_way(key, identity)
        folder.mkdir(parents=True, exist_ok=True)
        files = sorted(_shown_files(source), key=lambda file: file.name == RESULT_FILE)
        if Path(RESULT_FILE) in files:
            _link_last_checkpoint(source, folder)
        for file in files:
            _mirror(source / file, folder / file)
        if Path(FAILURE_FILE) not in files or Path(RESULT_FILE) in files:
            (folder / FAILURE_FILE).unlink(missing_ok=True)

    def set_aside(self, key: RunKey, identity: str) -> None:
        """Move a damaged work dir to `stale/`, so the run can start again and nothing is lost."""
        if self.folder(identity).exists():
            self._set_aside(self.folder(identity), key)
            self._remove_view(self.view(key))

    def _set_aside(self, folder: Path, key: RunKey) -> None:
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        target = self._run_dir / "stale" / stamp / key.path.relative_to("cells")
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder, target)

    def _move_in(self, folder: Path, kept: Path) -> None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        if (folder / _OLD_RUN_FILE).is_file():
            os.replace(folder / _OLD_RUN_FILE, folder / RUN_FILE)
        os.replace(folder, kept)

    def _remove_view(self, folder: Path) -> None:
        if not folder.exists():
            return
        # Renamed first, so a reader never sees a part of it.
        leaving = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        # Another harness may do the same.
        with contextlib.suppress(FileNotFoundError):
            os.replace(folder, leaving)
        shutil.rmtree(leaving, ignore_errors=True)


def run_file(folder: Path) -> dict[str, Any]:
    """Return the record of how a work dir's run was started; empty if there is none."""
    return read_json(folder / RUN_FILE) or read_json(folder / _OLD_RUN_FILE) or {}


def identity_in(folder: Path) -> str | None:
    """Return the identity of the run in a folder; None if there is none."""
    result = read_json(folder / RESULT_FILE) or {}
    found = result.get("identity") or run_file(folder).get("identity")
    return found if isinstance(found, str) and found.isalnum() else None


def is_complete(folder: Path, *, makes_checkpoint: bool) -> str | None:
    """Return why a finished run cannot be used; empty if it can, None if the run is not finished."""
    if not (folder / RESULT_FILE).exists():
        return None
    result = read_json(folder / RESULT_FILE)
    if result is None:
        return f"its {RESULT_FILE} cannot be read"
    if result.get("status") != "completed":
        return f"its {RESULT_FILE} is not complete"
    if makes_checkpoint and not (folder / CHECKPOINT_FILE).is_file():
        return f"its {CHECKPOINT_FILE} is gone"
    return ""


def write_failure(
    folder: Path, exit_status: int | None, message: str, log_tail: list[str] | None = None
) -> None:
    """Write why a run has no result; `exit_status` is None if the run was never started."""
    write_json(
        folder / FAILURE_FILE,
        {"exit_status": exit_status, "message": message, "log_tail": log_tail or []},
    )


def _shown_files(source: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if not _is_left_out(name)]
        for name in files:
            if not _is_left_out(name):
                yield Path(folder, name).relative_to(source)


def _link_last_checkpoint(source: Path, folder: Path) -> None:
    """Link the trained network for `export`; it is never copied, because a copy would double the disk space."""
    weights = [*source.glob("epoch_*.pth"), *source.glob("iter_*.pth")]
    last = max(weights, key=lambda path: path.stat().st_mtime_ns, default=None)
    if last is not None and not (folder / last.name).exists():
        with contextlib.suppress(OSError):
            os.link(last, folder / last.name)


def _is_left_out(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in _NOT_IN_VIEWS)


def _mirror(source: Path, target: Path) -> None:
    """Replace `target` atomically by a link to `source`, or by a copy."""
    if target.exists():
        here, there = target.stat(), source.stat()
        same = (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)
        if same or (here.st_size, here.st_mtime_ns) == (there.st_size, there.st_mtime_ns):
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    # Harnesses of other machines may show the same run, so a process id would not be unique.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copy2(source, temporary)
    os.replace(temporary, target)
