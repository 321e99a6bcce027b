"""Print device, precisions and sizes of backbones as JSON: `python -m engine.describe [SPEC …]`.

The harness calls this once for all backbones of a suite, because planning itself does not import torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import torch

import backbones
from contract.errors import UserError
from contract.settings import PRECISIONS
from engine.runner.device import device
from engine.runner.precision import choose_precision


def facts(specs: Sequence[str]) -> dict[str, Any]:
    """Return `device`, `dtypes` by precision (None if the device does not support it), and `backbones` by spec.

    The entry of a backbone has `parameters`, or `error` with the reason why it cannot be built.
    """
    return {
        "device": device()["type"],
        "dtypes": {precision: _dtype(precision) for precision in PRECISIONS},
        "backbones": {spec: _size(spec) for spec in specs},
    }


def _dtype(precision: str) -> str | None:
    try:
        return choose_precision(precision).dtype
    except UserError:
        return None


def _size(spec: str) -> dict[str, Any]:
    try:
        # Only shapes: the weights take neither memory nor time.
        with torch.device("meta"):
            network = backbones.create(spec)
    except UserError as error:
        return {"error": str(error)}
    return {"parameters": backbones.count_parameters(network)}


if __name__ == "__main__":
    print(json.dumps(facts(sys.argv[1:])))
