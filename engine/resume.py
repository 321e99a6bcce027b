"""Resume a run from the last complete checkpoint of the same job."""

from __future__ import annotations

import hashlib
import json
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging.history_buffer import HistoryBuffer

from contract.errors import UserError
from contract.files import write_json

JOB_FILE = "job.json"
# Options that may differ when a job is resumed.
_FREE = ("work_dir", "resume", "load_from", "launcher", "env_cfg")


def point_at_checkpoint(
    config: Config, work_dir: Path, *, resume: bool, identity: str | None = None
) -> None:
    """Set where mmengine's Runner starts, and record which job the work dir belongs to.

    Without `resume`, checkpoints of an earlier job move to a folder `earlier-TIME` in the work dir: otherwise a later
    `--resume` would continue from the newest of them.

    Args:
        config: The finished Runner config; `resume` and `load_from` are set in place.
        work_dir: Exists already.
        resume: Continue from a checkpoint if there is one.
        identity: The harness's identity of the job; None takes the digest of the config, which includes paths.

    Raises:
        UserError: The checkpoints belong to a job with another config.
    """
    torch.serialization.add_safe_globals(_resume_types())
    digest = identity or _digest(config)
    noted = work_dir / JOB_FILE
    found = None
    if resume:
        found = latest_checkpoint(work_dir)
        before = json.loads(noted.read_text(encoding="utf-8")) if noted.is_file() else None
        if found is not None and before is not None and before["digest"] != digest:
            raise UserError(
                f"--resume was given, but {work_dir} holds checkpoints of a job with another config (backbone, "
                "data, recipe, tricks, seed, budget or overrides differ); repeat the first command, or name "
                "another --work-dir"
            )
    elif is_main_process():
        _set_aside(work_dir)
    if is_main_process():
        write_json(noted, {"digest": digest})
    config.resume = found is not None
    config.load_from = str(found) if found else None


def _digest(config: Config) -> str:
    decisive = {key: value for key, value in config._cfg_dict.to_dict().items() if key not in _FREE}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()


def _checkpoints(work_dir: Path) -> list[Path]:
    """Return the checkpoints in a work dir, newest first."""
    return sorted(
        [*work_dir.glob("epoch_*.pth"), *work_dir.glob("iter_*.pth")],
        key=lambda path: int(path.stem.rsplit("_", 1)[1]),
        reverse=True,
    )


def _set_aside(work_dir: Path) -> None:
    old = _checkpoints(work_dir)
    if not old:
        return
    folder = work_dir / time.strftime("earlier-%Y%m%d-%H%M%S")
    folder.mkdir(exist_ok=True)
    for path in old:
        path.rename(folder / path.name)


def latest_checkpoint(work_dir: Path) -> Path | None:
    """Return the newest complete checkpoint in a work dir.

    A run that is killed while writing leaves a truncated file; the previous checkpoint still exists.
    """
    for path in _checkpoints(work_dir):
        try:
            torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            # Truncated files raise this too; a complete one with a type that is not allowed must not be skipped.
            if "Unsupported global" in str(error):
                raise
            continue
        except (OSError, RuntimeError, EOFError, ValueError):
            continue
        return path
    return None


def _resume_types() -> list[Any]:
    """Return the types in mmengine's checkpoints besides tensors, for torch's weights-only loading."""
    reconstruct = np.ndarray([]).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(t)) for t in (np.float64, np.float32, np.int64, np.int32, np.uint8)]
    return [HistoryBuffer, reconstruct, scalar, np.ndarray, np.dtype, *dtypes, getattr]
