"""The record of one finished stage: `result.json`, schema version 1 (see docs/architecture.md)."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

SCHEMA_VERSION = 1
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "pytorch-optimizer",
    "mmengine",
    "mmcv-lite",
    "mmcv",
    "mmdet",
    "mmsegmentation",
    "numpy",
)


@dataclass(frozen=True)
class Metric:
    """One number of a result.

    Attributes:
        name: As `docs/architecture.md` lists them: `top1`, `map`, `miou` …
        value: In `unit`.
        unit: `'%'`.
        higher_is_better: Which way is up.
    """

    name: str
    value: float
    unit: str = "%"
    higher_is_better: bool = True


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names for a sentence, the first ones where there are many."""
    return ", ".join(
        [*names[:most], *([f"and {len(names) - most} more"] if len(names) > most else [])]
    )


def write_json(path: Path, content: Any) -> None:
    """Write a file so that it is either whole or absent, also after a power cut.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner may read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_result(path: Path, metrics: list[Metric], fields: Mapping[str, Any]) -> None:
    """Write `result.json`; `fields` are the keys of the schema that only the stage knows."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "status": "completed",
        **fields,
        "metrics": [asdict(metric) for metric in metrics],
        "code": code_version(),
        "packages": package_versions(),
        "python": platform.python_version(),
        "device": device(),
    }
    write_json(path, content)


def code_version() -> dict[str, Any]:
    """The git commit of this code and whether it was edited since; nulls outside a git checkout."""
    root = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str | None:
        try:
            answer = subprocess.run(
                ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    sha = git("rev-parse", "HEAD")
    status = git("status", "--porcelain", "--untracked-files=no")
    return {"git_sha": sha, "dirty": None if status is None else bool(status)}


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that decide numbers."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def device() -> dict[str, Any]:
    """Type, name and number of the devices that trained."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if torch.cuda.is_available():
        return {"type": "cuda", "name": torch.cuda.get_device_name(), "count": world_size}
    return {"type": "cpu", "name": _cpu_name(), "count": torch.get_num_threads() * world_size}


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def peak_memory_mib() -> float:
    """What this process has needed at most so far, in MiB.

    On a GPU, what torch's allocator had handed out at once. Without one, the process's resident set: Python and its
    packages, and what it loads itself, are in it; loader workers are processes of their own and are not.
    """
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
