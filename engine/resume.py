"""Resume a run from the last complete checkpoint of the same job."""

from __future__ import annotations

import hashlib
import json
import pickle
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, get_rank, is_main_process
from mmengine.logging.history_buffer import HistoryBuffer

from contract.errors import UserError
from contract.files import write_json
from engine.runner.batch import HOOK, NONE
from engine.runner.checkpoint_files import checkpoints

JOB_FILE = "job.json"
# Options that may differ when a job is resumed.
_FREE = ("work_dir", "resume", "load_from", "launcher", "env_cfg", "visualizer")


def point_at_checkpoint(
    config: Config,
    work_dir: Path,
    *,
    resume: bool,
    identity: str | None = None,
    conditions: Mapping[str, Any] | None = None,
) -> None:
    """Set where mmengine's Runner starts, and record which job the work dir belongs to.

    Without `resume`, checkpoints of an earlier job move to a folder `earlier-TIME` in the work dir: otherwise a later
    `--resume` would continue from the newest of them. Of several processes, the first decides for all.

    Args:
        config: The finished Runner config; `resume` and `load_from` are set in place.
        work_dir: Exists already.
        resume: Continue from a checkpoint if there is one.
        identity: The harness's identity of the job; None takes the digest of the config, which includes paths.
        conditions: Where the job runs, by name: what changes its numbers and is not in the config or the identity, such
            as the number of processes. A resumed job must meet the same ones.

    Raises:
        UserError: The checkpoints belong to a job with another config or under other conditions, or this process does
            not see the checkpoint that the first one resumes from.
    """
    torch.serialization.add_safe_globals(_resume_types())
    job = {"digest": identity or _digest(config), "conditions": dict(conditions or {})}
    found = _start(work_dir, job, resume) if is_main_process() else None
    chosen = [None if found is None else str(found)]
    broadcast_object_list(chosen)
    path = chosen[0]
    if path is not None and not Path(path).is_file():
        raise UserError(
            f"the process of rank {get_rank()} on {platform.node()} does not see {path}, from which rank 0 resumes; "
            "name a --work-dir in a folder that all machines share"
        )
    config.resume = path is not None
    config.load_from = path


def _start(work_dir: Path, job: dict[str, Any], resume: bool) -> Path | None:
    """Note the job in its work dir and return the checkpoint to start from; None if there is none."""
    noted = work_dir / JOB_FILE
    found = None
    if resume:
        found = latest_checkpoint(work_dir)
        if found is not None and noted.is_file():
            _require_same(work_dir, json.loads(noted.read_text(encoding="utf-8")), job)
    else:
        _set_aside(work_dir)
    write_json(noted, job)
    return found


def _require_same(work_dir: Path, before: dict[str, Any], job: dict[str, Any]) -> None:
    """Refuse to resume another job than the one noted in the work dir."""
    now, noted = job["conditions"], before.get("conditions", {})
    differing = [
        f"{name} was {noted[name]} and is {now[name]}"
        for name in now
        if name in noted and noted[name] != now[name]
    ]
    if differing:
        raise UserError(
            f"--resume was given, but the checkpoints in {work_dir} were written under other conditions, which change "
            f"the numbers: {'; '.join(differing)}; resume under the first ones, or name another --work-dir"
        )
    if before["digest"] != job["digest"]:
        raise UserError(
            f"--resume was given, but {work_dir} holds checkpoints of a job with another config (backbone, "
            "data, recipe, tricks, seed, budget or overrides differ); repeat the first command, or name "
            "another --work-dir"
        )


def _digest(config: Config) -> str:
    decisive = {key: value for key, value in config._cfg_dict.to_dict().items() if key not in _FREE}
    checkpoint = (decisive.get("default_hooks") or {}).get("checkpoint", {})
    checkpoint.pop("minutes", None)
    # After a step that does not fit, a job goes on in smaller passes. Where they change no statistics, it is the same.
    decisive["custom_hooks"] = [
        {} if hook["type"] == HOOK and hook["statistics"] == NONE else hook
        for hook in decisive.get("custom_hooks") or []
    ]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()


def _set_aside(work_dir: Path) -> None:
    old = checkpoints(work_dir)
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
    for path in checkpoints(work_dir):
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
