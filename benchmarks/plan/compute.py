"""Facts that need torch: the device, the dtype of each precision, and the sizes of backbones.

One process with torch answers for all backbones of a suite. Answers are cached until something that they depend on
changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.plan.identity import module_code, own_code
from contract.errors import UserError
from contract.files import read_json, write_json
from contract.settings import package_versions

_MODULE = "engine.describe"
_CACHE_FILE = "backbones.json"

Ask = Callable[[Sequence[str]], Mapping[str, Any]]


@dataclass(frozen=True)
class Compute:
    """The device of the runs.

    Attributes:
        device: `cpu` or `cuda`.
        dtypes: The dtype of training by requested precision; None if the device does not support it.
        parameters: Numbers of parameters by backbone spec.
    """

    device: str = "cpu"
    dtypes: Mapping[str, str | None] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)

    def dtype(self, precision: str) -> str:
        """Return the dtype of a precision; the precision itself if the device does not support it."""
        return self.dtypes.get(precision) or precision


def find_compute(
    specs: Iterable[str], root: Path, cache_dir: Path, ask: Ask | None = None
) -> Compute:
    """Describe the device and each backbone, which also shows whether it exists.

    Args:
        specs: The backbones.
        root: The repository.
        cache_dir: The folder for cached answers.
        ask: Replaces `engine.describe.facts`; None calls it.

    Raises:
        UserError: Some specs are unknown; all are listed at once.
    """
    path = cache_dir / _CACHE_FILE
    machine = _digest([_machine(), *sorted(package_versions().items())])
    code = _digest([module_code(_MODULE, root), *sorted(package_versions().items())])
    stored = read_json(path) or {}
    known: dict[str, Any] = stored.get("backbones", {}) if stored.get("code") == code else {}
    device = stored.get("device") if stored.get("machine") == machine else None
    dtypes = stored.get("dtypes") or {}
    keys = {spec: _digest(own_code(spec)) for spec in specs}
    missing = [spec for spec in sorted(keys) if known.get(spec, {}).get("own") != keys[spec]]
    errors: list[str] = []
    if missing or device is None:
        answer = ask(missing) if ask else _ask(missing, root)
        device, dtypes = answer["device"], answer["dtypes"]
        found = {spec: answer["backbones"][spec] for spec in missing}
        errors = [facts["error"] for facts in found.values() if "error" in facts]
        known |= {s: {**f, "own": keys[s]} for s, f in found.items() if "error" not in f}
        kept = {"device": device, "dtypes": dtypes, "backbones": known}
        write_json(path, {"machine": machine, "code": code, **kept})
    if errors:
        raise UserError("\n".join(errors))
    return Compute(str(device), dtypes, {spec: int(known[spec]["parameters"]) for spec in keys})


def _ask(specs: Sequence[str], root: Path) -> Mapping[str, Any]:
    command = [sys.executable, "-m", _MODULE, *specs]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise RuntimeError(f"`{' '.join(command)}` failed:\n{answer.stderr}")
    return json.loads(answer.stdout.splitlines()[-1])


def _machine() -> list[Any]:
    """Return everything that decides which device torch finds, without importing torch."""
    return [
        os.environ.get("CUDA_VISIBLE_DEVICES"),
        sorted(path.name for path in Path("/dev").glob("nvidia*")),
        _text(Path("/proc/driver/nvidia/version")),
        sorted(
            {
                line
                for line in _text(Path("/proc/cpuinfo")).splitlines()
                if line.startswith(("flags", "Features", "model name"))
            }
        ),
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()
