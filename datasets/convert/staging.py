"""Fill a new folder that appears by one rename; an interrupted command continues where it stopped."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contract.errors import UserError
from contract.files import read_json, write_json

# Inside the unfinished folder: from what, and how it is made.
_PLAN = ".unfinished.json"


@contextmanager
def staged(target: Path, plan: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the folder to fill. It gets its name when the block ends without an error, and else stays for later.

    Args:
        target: The new folder.
        plan: Everything that decides its content; the same plan continues an unfinished folder.

    Raises:
        UserError: The folder exists, or an unfinished one was made by another plan, or the disk refused a file.
    """
    if target.is_symlink() or (target.exists() and not _is_empty(target)):
        raise UserError(
            f"{target} is there already; name a new folder, or remove it if it is not needed"
        )
    folder = target.absolute().parent / f".{target.name}.unfinished"
    kept = read_json(folder / _PLAN)
    wanted = json.loads(json.dumps(dict(plan)))
    if folder.exists() and kept != wanted:
        raise UserError(
            f"{folder} holds an unfinished {target.name}, made from other settings than these: got {wanted}, expected "
            f"{kept}. Give the same settings to continue it, or remove the folder."
        )
    try:
        write_json(folder / _PLAN, wanted)
        yield folder
        (folder / _PLAN).unlink()
        if target.exists():
            target.rmdir()
        os.replace(folder, target)
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f" at {error.filename}" if error.filename else ""
        remedy = "Free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Fix that"
        raise UserError(
            f"Making {target} stopped{place}: {error.strerror or error}. {remedy} and run the same command again: what "
            f"was made is kept in {folder}."
        ) from error


def require_apart(source: Path, target: Path) -> None:
    """Check that neither folder lies in the other.

    Raises:
        UserError: One does.
    """
    first, second = source.resolve(), target.resolve()
    if first == second or first in second.parents or second in first.parents:
        raise UserError(
            f"{target} and {source} lie in each other; name a target outside the dataset"
        )


def _is_empty(path: Path) -> bool:
    return path.is_dir() and next(path.iterdir(), None) is None
