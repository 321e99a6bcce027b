"""What every command of a stage does around its work: the exit status, the sentence of a mistake, the work dir."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from contract.errors import UserError


def exit_status(
    work: Callable[[], None],
    *,
    interrupted: str = "interrupted; run the same command with --resume to go on",
) -> int:
    """Do a command's work, tell what went wrong on standard error, and return the exit status.

    Args:
        work: The work.
        interrupted: What an interrupted user is told.
    """
    try:
        work()
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
    except Exception as error:
        sentence = user_error(error)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            sentence = _full_disk(error)
        if sentence is None:
            traceback.print_exc()
            return 1
        print(f"error: {sentence}", file=sys.stderr)
        return 2
    return 0


def _full_disk(error: OSError) -> str:
    return (
        f"the disk is full ({error}); free some space and run the same command with --resume, "
        "which goes on from the last checkpoint"
    )


def user_error(error: BaseException) -> str | None:
    """The sentence of a user's mistake, also where a loader worker has wrapped it, else None."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            # A worker's exception arrives as the same type with its traceback in the text.
            return str(cause).rsplit("UserError: ", 1)[-1].strip()
        cause = cause.__cause__
    return None


def make_work_dir(folder: Path) -> None:
    """Make a stage's folder where it is missing.

    Raises:
        UserError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(
            f"the work dir {folder} cannot be made ({error.strerror}); name another with --work-dir"
        ) from error
