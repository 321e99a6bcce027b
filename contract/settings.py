"""Option values that tasks and harness share, and the package versions that can change a number."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# `full` trains the config's schedule, `short` a quarter of it, `smoke` a few iterations.
BUDGETS = ("full", "short", "smoke")
PRECISIONS = ("auto", "fp32", "tf32", "bf16", "fp16")
# `auto` is a GPU if there is one. torch calls AMD's GPUs `cuda` too.
DEVICES = ("auto", "cpu", "cuda")

# First word of a task's command line that resolves schedules instead of training, see engine/measure/schedule.py.
SCHEDULES = "--schedules"

# Packages whose version can change a number.
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "pytorch-optimizer",
    "mmengine",
    "mmcv",
    "mmcv-lite",
    "mmdet",
    "mmsegmentation",
    "numpy",
    "simplejpeg",
)


@cache
def package_versions() -> Mapping[str, str]:
    """Return the installed versions of `PACKAGES`; packages that are not installed are left out."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state() -> tuple[str | None, bool | None]:
    """Return the commit of this code and whether tracked files were edited; (None, None) outside a git checkout."""

    def git(*arguments: str) -> str | None:
        try:
            answer = subprocess.run(
                ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    status = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "HEAD"), None if status is None else bool(status)
