"""The run folder on disk: its lock, its files, and the place for results that no longer count."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from contract.errors import UserError
from contract.files import read_json, write_json


@dataclass(frozen=True)
class CellKey:
    """Names a cell: one row × one stage × one seed."""

    row: str
    stage: str
    seed: int

    @property
    def path(self) -> Path:
        """The cell's work dir, relative to the run folder."""
        return Path("cells", self.row, self.stage, f"seed-{self.seed}")

    def __str__(self) -> str:
        return f"{self.row} · {self.stage} · seed {self.seed}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a run folder, so that two runs never write into the same cells.

    The kernel lets go of the lock when the process ends, however it ends.

    Raises:
        UserError: Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip()
            process = f" (process {owner})" if owner else ""
            raise UserError(
                f"Another run{process} is working in {folder}. Wait until it has ended, or give "
                "this one another folder with --run-dir."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def set_aside(run_dir: Path, key: CellKey) -> Path | None:
    """Moves a cell's work dir to `stale/`, so that nothing is lost and nothing stands in the way.

    Returns:
        Where it went; None if there was nothing to move.
    """
    folder = run_dir / key.path
    if not folder.exists():
        return None
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    target = run_dir / "stale" / stamp / key.path.relative_to("cells")
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(folder, target)
    return target


def finished_cells(runs: Path) -> dict[str, Path]:
    """Returns the work dirs of completed cells by identity, of all run folders in `runs`."""
    found: dict[str, Path] = {}
    for plan in sorted(runs.glob("*/plan.json")):
        for path in sorted(plan.parent.glob("cells/*/*/seed-*/result.json")):
            result = read_json(path) or {}
            if result.get("status") == "completed" and result.get("identity"):
                found.setdefault(str(result["identity"]), path.parent)
    return found


def take_over(source: Path, folder: Path) -> None:
    """Makes the work dir of a finished cell that of an equal one too, all or nothing.

    Files are linked where the disk can, else copied; checkpoints of a training that has ended stay behind.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        shutil.copytree(
            source,
            temporary,
            copy_function=_link_or_copy,
            ignore=shutil.ignore_patterns(
                "*.pth", "last_checkpoint", "job.json", "20??????_??????*"
            ),
            dirs_exist_ok=True,
        )
        os.chmod(temporary, 0o755)  # mkdtemp makes folders that only their owner may read
        os.replace(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def write_failure(
    folder: Path, exit_status: int | None, message: str, log_tail: list[str] | None = None
) -> None:
    """Writes why a cell has no result; `exit_status` is None where it was never started."""
    failure: Mapping[str, Any] = {
        "exit_status": exit_status,
        "message": message,
        "log_tail": log_tail or [],
    }
    write_json(folder / "failure.json", failure)
