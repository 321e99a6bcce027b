"""The resume checkpoints in a work dir: their names, their order, and writing that a kill cannot damage."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch

from contract.files import write_text

_NAME = re.compile(r"(?:epoch_(\d+))?_?(?:iter_(\d+))?\.pth")
# mmengine's file with the path of the newest checkpoint.
_POINTER = "last_checkpoint"
# The older one is kept until the newer one is certainly on the disk.
KEPT = 2
# What exporting and testing a finished network need, and `--resume` to write its result again.
_OF_A_FINISHED_RUN = ("meta", "state_dict", "message_hub")


def name_of(epoch: int | None, iteration: int, *, within_epoch: bool = False) -> str:
    """Return the name of a checkpoint.

    Args:
        epoch: Completed epochs; None in an iteration-based loop.
        iteration: Completed iterations of the whole training.
        within_epoch: Whether the checkpoint is not at the end of an epoch.
    """
    if epoch is None:
        return f"iter_{iteration}.pth"
    return f"epoch_{epoch}_iter_{iteration}.pth" if within_epoch else f"epoch_{epoch}.pth"


def checkpoints(work_dir: Path) -> list[Path]:
    """Return the checkpoints in a work dir, newest first, by the positions in their names."""
    found = [*work_dir.glob("epoch_*.pth"), *work_dir.glob("iter_*.pth")]
    return sorted((path for path in found if _NAME.fullmatch(path.name)), key=_position)[::-1]


def _position(path: Path) -> tuple[int, int]:
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1] or 0), int(match[2] or 0)


def partial_name(name: str) -> str:
    """Return the name under which a checkpoint is written; hidden, so nothing takes it for a checkpoint."""
    return f".{name}"


def complete(folder: Path, name: str) -> None:
    """Give a written checkpoint its name, once it is on the disk, and remove all but the newest `KEPT`."""
    partial = folder / partial_name(name)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, folder / name)
    write_text(folder / _POINTER, str(folder / name))
    for path in checkpoints(folder)[KEPT:]:
        path.unlink(missing_ok=True)
    # Of writes that were killed.
    for pattern in (".epoch_*.pth", ".iter_*.pth"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def keep_the_network(work_dir: Path) -> None:
    """Keep one checkpoint of a finished run, without the states of optimiser, schedules and averaging.

    The file is replaced, never changed: it may have other names in run folders.
    """
    found = checkpoints(work_dir)
    if not found:
        return
    newest, *older = found
    content: dict[str, Any] = torch.load(newest, map_location="cpu", weights_only=True)
    kept = {key: content[key] for key in _OF_A_FINISHED_RUN if key in content}
    if kept.keys() != content.keys():
        torch.save(kept, work_dir / partial_name(newest.name))
        complete(work_dir, newest.name)
    for path in older:
        path.unlink(missing_ok=True)
