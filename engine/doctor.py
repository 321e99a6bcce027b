"""`python -m engine.doctor --json`: report versions, device, precision and kernels on this machine."""

from __future__ import annotations

import json
import sys
import warnings

import torch

from contract.settings import package_versions
from engine.mmcv_ops import install
from engine.runner.device import device
from engine.runner.precision import choose_precision


def findings() -> dict[str, str]:
    """Return versions, the device, the precision that `auto` means here, and which kernels serve mmcv's ops.

    Raises:
        Exception: mmcv's ops cannot be called.
    """
    found = device()
    return {
        "versions": ", ".join(f"{name} {version}" for name, version in package_versions().items()),
        "device": f"{found['type']}: {found['name']}",
        "torch": _gpus(),
        "precision_auto": str(choose_precision("auto")),
        "mmcv_ops_served_by": f"{install()}; nms and roi_align answer on {_try_ops(found['type'])}",
    }


def _gpus() -> str:
    """Describe the CUDA version of torch and the GPUs that it can use."""
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    if not torch.cuda.is_available():
        return f"{built}; it finds no GPU"
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    listed = ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in gpus)
    return f"{built}; {listed}"


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


if __name__ == "__main__":
    answer = findings()
    print(json.dumps(answer) if "--json" in sys.argv else "\n".join(map(": ".join, answer.items())))
