"""Facts that need torch: the device, the dtype of each precision, and the sizes of backbones.

One process with torch answers for all backbones of a suite. Answers are cached until something that they depend on
changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.plan.identity import module_code, own_code
from contract.errors import UserError
from contract.files import read_json, write_json
from contract.machine import cpu_cores
from contract.settings import package_versions

_MODULE = "engine.describe"
_CACHE_FILE = "backbones.json"

# Variables that decide which GPUs torch finds, and through which libraries.
_VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    *("CUDA_DEVICE_ORDER", "LD_LIBRARY_PATH"),
)

Ask = Callable[[Sequence[str]], Mapping[str, Any]]


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a MIG instance of one, for one run at a time.

    Attributes:
        id: Its name in the variable that gives a process its GPUs.
        name: The product's name.
        left_out: Why no run uses it; None if runs do.
        uuid: NVIDIA's identifier, under which the driver knows it; empty if torch does not show it.
    """

    id: str
    name: str
    left_out: str | None = None
    uuid: str = ""


@dataclass(frozen=True)
class Compute:
    """The device of the runs.

    Attributes:
        device: `cpu` or `cuda`.
        dtypes: The dtype of training by requested precision; None if the device does not support it.
        parameters: Numbers of parameters by backbone spec.
        gpus: The GPUs; empty on a CPU.
        visible_variable: The environment variable that gives a process its GPUs.
        decoder: What `decoder = "auto"` of the classification task means in the runs.
        reason: Why the device was chosen, as one clause.
        problem: Why no run can start on this machine, with the ways out; None if runs can.
    """

    device: str = "cpu"
    dtypes: Mapping[str, str | None] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)
    gpus: tuple[Gpu, ...] = ()
    visible_variable: str = "CUDA_VISIBLE_DEVICES"
    decoder: str = "turbo"
    reason: str = ""
    problem: str | None = None

    @property
    def gpu_ids(self) -> tuple[str, ...]:
        """The GPUs that runs use."""
        return tuple(gpu.id for gpu in self.gpus if gpu.left_out is None)

    def gpu_name(self, gpu_id: str) -> str:
        """Return the product's name of a GPU; empty if it is unknown."""
        return next((gpu.name for gpu in self.gpus if gpu.id == gpu_id), "")

    def dtype(self, precision: str) -> str:
        """Return the dtype of a precision; the precision itself if the device does not support it."""
        return self.dtypes.get(precision) or precision


def find_compute(
    specs: Iterable[str],
    root: Path,
    cache_dir: Path,
    ask: Ask | None = None,
    device: str = "auto",
) -> Compute:
    """Describe the device and each backbone, which also shows whether it exists.

    Args:
        specs: The backbones.
        root: The repository.
        cache_dir: The folder for cached answers.
        ask: Replaces `engine.describe.facts`; None calls it.
        device: Value of the tasks' option `--device`.

    Raises:
        UserError: Some specs are unknown; all are listed at once. A device that cannot be used is no error here.
    """
    path = cache_dir / _CACHE_FILE
    machine = _digest([device, _machine(), *sorted(package_versions().items())])
    code = _digest([module_code(_MODULE, root), *sorted(package_versions().items())])
    stored = read_json(path) or {}
    known: dict[str, Any] = stored.get("backbones", {}) if stored.get("code") == code else {}
    same = (stored.get("machine"), stored.get("code")) == (machine, code)
    facts = stored.get("facts") if same else None
    keys = {spec: _digest(own_code(spec)) for spec in specs}
    missing = [spec for spec in sorted(keys) if known.get(spec, {}).get("own") != keys[spec]]
    errors: list[str] = []
    if missing or facts is None:
        answer = dict(ask(missing) if ask else _ask(missing, root, device))
        found = {spec: answer["backbones"][spec] for spec in missing}
        errors = [entry["error"] for entry in found.values() if "error" in entry]
        known |= {s: {**f, "own": keys[s]} for s, f in found.items() if "error" not in f}
        facts = {key: value for key, value in answer.items() if key != "backbones"}
        decoders = stored.get("decoders") or {}
        if facts["device"] == "cuda" and not facts.get("problem"):
            # The first measurement is kept: a second one could choose the other decoder, and with it other identities.
            decoders.setdefault(hardware_key(facts), facts.get("decoder"))
            facts["decoder"] = decoders[hardware_key(facts)]
        # A problem is going to be repaired, so the next command asks again.
        kept = None if facts.get("problem") else facts
        write_json(
            path,
            {
                **{"machine": machine, "code": code, "facts": kept, "backbones": known},
                "decoders": decoders,
            },
        )
    if errors:
        raise UserError("\n".join(errors))
    return as_compute(facts, {spec: int(known[spec]["parameters"]) for spec in keys})


def hardware_key(facts: Mapping[str, Any]) -> str:
    """Return the key under which the choice of the decoder is kept: GPUs, processor, cores and packages."""
    cpu = [line for line in _machine()[-1] if line.startswith("model name")]
    names = sorted({gpu["name"] for gpu in facts.get("gpus") or ()})
    share = cpu_cores() // max(1, len(facts.get("gpus") or ()))
    return _digest([names, cpu, share, *sorted(package_versions().items())])


def as_compute(facts: Mapping[str, Any], parameters: Mapping[str, int]) -> Compute:
    """Return the answer of `engine.describe` as an object.

    Args:
        facts: The answer; keys about GPUs may be missing.
        parameters: Numbers of parameters by backbone spec.
    """
    gpus = facts.get("gpus") or ()
    return Compute(
        device=facts["device"] or "cpu",
        dtypes=facts["dtypes"],
        parameters=parameters,
        gpus=tuple(
            Gpu(gpu["id"], gpu["name"], gpu["left_out"], gpu.get("uuid") or "") for gpu in gpus
        ),
        visible_variable=facts.get("visible_variable") or Compute.visible_variable,
        decoder=facts.get("decoder") or Compute.decoder,
        reason=facts.get("device_reason") or "",
        problem=facts.get("problem"),
    )


def _ask(specs: Sequence[str], root: Path, device: str) -> Mapping[str, Any]:
    command = [sys.executable, "-m", _MODULE, "--device", device, *specs]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    require_success(answer)
    return json.loads(answer.stdout.splitlines()[-1])


def require_success(answer: subprocess.CompletedProcess[str]) -> None:
    """Raise unless a helping process succeeded.

    Raises:
        UserError: A signal ended it.
        RuntimeError: It failed otherwise, which is a bug.
    """
    command = " ".join(answer.args)
    if answer.returncode < 0:
        raise UserError(
            f"`{command}` was ended by signal {-answer.returncode}. If nobody did so, memory ran out: end other "
            "programs, and run the same command again."
        )
    if answer.returncode != 0:
        raise RuntimeError(f"`{command}` failed:\n{answer.stderr}")


def _machine(root: Path = Path("/")) -> list[Any]:
    """Return everything that decides which device torch finds, without importing torch.

    Args:
        root: The folder that contains `dev`, `proc` and `sys`.
    """
    return [
        [os.environ.get(name) for name in _VARIABLES],
        # Devices, MIG instances, and AMD's GPUs.
        [
            sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))
            for pattern in (
                *("dev/nvidia*", "dev/kfd", "dev/dxg", "proc/driver/nvidia/gpus/*"),
                "proc/driver/nvidia/capabilities/gpu*/mig/gi*/ci*",
                "sys/class/kfd/kfd/topology/nodes/*",
            )
        ],
        # Drivers. A container that was started differently may get or lack the tools.
        _text(root / "proc/driver/nvidia/version"),
        _text(root / "sys/module/amdgpu/version"),
        shutil.which("nvidia-smi"),
        sorted(
            {
                line
                for line in _text(root / "proc/cpuinfo").splitlines()
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
