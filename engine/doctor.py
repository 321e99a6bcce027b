"""`python -m engine.doctor [--json]`: check torch, the GPUs, the precision and the kernels on this machine."""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from contract.settings import PRECISIONS, package_versions
from engine.describe import facts
from engine.gpus import arch_supported, needed_driver
from engine.mmcv_ops import install
from engine.runner.device import device
from engine.runner.precision import choose_precision

# States of a finding: fine, must be repaired before anything runs, or for information.
OK, REPAIR, NOTE = "ok", "repair", "note"
GIB = 2**30
# The share of a GPU's memory that the driver and a desktop take.
_USUALLY_TAKEN = 0.1


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    Attributes:
        what: Its subject.
        found: What was found, and what to do about it.
        state: OK, REPAIR or NOTE.
    """

    what: str
    found: str
    state: str = OK


def findings(known: dict[str, Any] | None = None) -> list[Finding]:
    """Return the findings about versions, device, GPUs, precisions and kernels.

    Args:
        known: The answer of `engine.describe.facts`; None asks for it.

    Raises:
        Exception: mmcv's ops cannot be called.
    """
    known = facts([]) if known is None else known
    versions = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    found = [Finding("versions", versions), _torch(known)]
    if known["problem"] is not None:
        found.append(Finding("device", known["problem"], REPAIR))
        device_type = "cpu"
    else:
        device_type = known["device"]
        name = device(device_type)["name"]
        found.append(Finding("device", f"{device_type}: {name} ({known['device_reason']})"))
        found.append(Finding("precision auto", str(choose_precision("auto", device_type))))
        able = [name for name in PRECISIONS if known["dtypes"][name] is not None]
        found.append(Finding("precisions", ", ".join(able)))
    if device_type == "cuda":
        found += _gpus(known)
    kernels = f"{install()}; nms and roi_align answer on {_try_ops(device_type)}"
    return [*found, Finding("mmcv ops served by", kernels)]


def _torch(known: dict[str, Any]) -> Finding:
    """Describe torch's build and compare its needs with the driver."""
    if known["hip"]:
        built = f"built for ROCm {known['hip']}"
    elif known["cuda"]:
        needed = needed_driver()
        built = f"built for CUDA {known['cuda']}"
        built += f", which needs driver {needed} or newer" if needed else ""
        built += f"; kernels for {' '.join(torch.cuda.get_arch_list())}"
    else:
        built = "built without CUDA"
    return Finding("torch", f"{known['torch']}, {built}; driver: {known['driver'] or 'none found'}")


def _gpus(known: dict[str, Any]) -> Iterator[Finding]:
    """Describe each GPU: its kind, whether runs use it, and how much of its memory is free."""
    for gpu in known["gpus"]:
        parts = [gpu["name"]]
        if gpu["total_memory"] is not None:
            parts.append(f"{gpu['total_memory'] / GIB:.0f} GiB")
        if gpu["capability"] is not None:
            parts.append(f"compute capability {'.'.join(map(str, gpu['capability']))}")
        left_out = gpu["left_out"]
        text = ", ".join(parts) + (f"; left out: {left_out}" if left_out else "")
        yield Finding(f"GPU {gpu['id']}", text, NOTE if left_out else OK)
    for index in range(torch.cuda.device_count()):
        if arch_supported(torch.cuda.get_device_capability(index)):
            yield _memory(index)


def _memory(index: int) -> Finding:
    """Describe the free memory of a GPU; other processes may have taken a part of it."""
    try:
        free, total = torch.cuda.mem_get_info(index)
    except RuntimeError as error:  # not even a context of CUDA fits into it
        first = str(error).split("\n")[0]
        return Finding(f"memory of GPU {index}", f"{first}; see nvidia-smi", NOTE)
    text = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    if total - free <= _USUALLY_TAKEN * total:
        return Finding(f"memory of GPU {index}", text)
    text += "; other processes use the rest (see nvidia-smi), and two trainings on one GPU can run out of memory"
    return Finding(f"memory of GPU {index}", text, NOTE)


def _try_ops(device_type: str) -> str:
    """Call the two kernels that detection needs; return the devices they ran on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mmcv warns at import about moved classes
        from mmcv.ops import nms, roi_align
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.1]], device=device_type)
    _, kept = nms(boxes, torch.tensor([0.9, 0.8], device=device_type), 0.5)
    rois = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]], device=device_type)
    pooled = roi_align(torch.ones(1, 1, 8, 8, device=device_type), rois, (2, 2))
    if kept.tolist() != [0] or not torch.allclose(pooled, torch.ones_like(pooled)):
        raise RuntimeError(
            f"mmcv's ops give wrong answers (nms kept {kept.tolist()}); reinstall torchvision or mmcv"
        )
    return device_type


def main() -> None:
    """Print the findings; as JSON, together with the facts about the machine."""
    known = facts([])
    found = findings(known)
    if "--json" in sys.argv:
        print(
            json.dumps({"machine": known, "findings": [dataclasses.asdict(one) for one in found]})
        )
    else:
        print("\n".join(f"{one.what}: {one.found}" for one in found))


if __name__ == "__main__":
    main()
