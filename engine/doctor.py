"""`python -m engine.doctor --json`: what the stages will find on this machine."""

from __future__ import annotations

import json
import sys

from engine.compiled_ops import install
from engine.precision import choose_precision
from engine.result import device


def findings() -> dict[str, str]:
    """Which kernels serve mmcv's ops, the device, and the precision that `auto` means here."""
    found = device()
    return {
        "mmcv_ops_served_by": install(),
        "device": f"{found['type']}: {found['name']}",
        "precision_auto": str(choose_precision("auto")),
    }


if __name__ == "__main__":
    answer = findings()
    print(json.dumps(answer) if "--json" in sys.argv else "\n".join(map(": ".join, answer.items())))
