"""Print device, precisions, GPUs and sizes of backbones as JSON: `python -m engine.describe [--device D] [SPEC …]`.

The harness calls this once for all backbones of a suite, because planning itself does not import torch.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

import backbones
from contract.errors import UserError
from contract.settings import DEVICES, PRECISIONS
from engine.gpus import list_gpus, visible_variable
from engine.hardware import find_hardware
from engine.runner.device import resolve_device
from engine.runner.precision import choose_precision

# Below, starting further processes takes longer than describing the backbones in this one.
_LEAST_IN_PARALLEL = 8
# The slow initialisations. `normal_` is none of them: torch repeats it until all values lie in a range.
_DRAWS = ("uniform_", "erfinv_", "kaiming_uniform_")


def facts(specs: Sequence[str], requested: str = "auto") -> dict[str, Any]:
    """Return what the harness has to know about this machine, and about backbones.

    Args:
        specs: The backbones.
        requested: One of `contract.settings.DEVICES`.

    Returns:
        `problem`: why the device cannot be used, else None. `device` and `device_reason`: the choice; None with a
        problem. `dtypes` by precision: None if the device does not support it. `gpus`: the fields of
        `engine.gpus.Gpu`; empty on a CPU. `visible_variable`: the environment variable that takes their ids. `torch`,
        `cuda`, `hip`, `driver`: versions; None if absent. `backbones` by spec: `parameters`, or `error` with the
        reason why it cannot be built.
    """
    # Before CUDA starts, after which this process must not fork.
    sizes = _sizes(specs)
    return {**_machine(requested), "backbones": sizes}


def _sizes(specs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the answer for each backbone; many are described by one process for each core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if len(specs) < _LEAST_IN_PARALLEL or cores == 1 or torch.cuda.is_initialized():
        return {spec: _size(spec) for spec in specs}
    # Forked processes share the imported libraries, and classes of the user.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(min(cores, len(specs)), mp_context=context) as pool:
        return dict(zip(specs, pool.map(_size, specs), strict=True))


class _WithoutDraws(TorchFunctionMode):
    """Leave out random initial values, which take most of the time; only the shapes are asked for."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        # Not every function of torch has a name; those of `torch.nn.init` get the tensor by name.
        if getattr(func, "__name__", "") in _DRAWS:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def _machine(requested: str) -> dict[str, Any]:
    hardware = find_hardware()
    found: dict[str, Any] = {
        "problem": None,
        "device": None,
        "device_reason": None,
        "dtypes": {},
        "gpus": [],
        "visible_variable": visible_variable(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "driver": hardware.driver,
    }
    try:
        device = resolve_device(requested)
        if device.type == "cuda":
            found["gpus"] = [dataclasses.asdict(gpu) for gpu in list_gpus(hardware)]
        found["dtypes"] = {name: _dtype(name, device.type) for name in PRECISIONS}
    except UserError as error:
        return {**found, "problem": str(error)}
    except RuntimeError as error:  # from the driver, as for a GPU that has fallen off the bus
        sentence = " ".join(str(error).split("\n")[0].split())
        return {
            **found,
            "problem": f"the GPU cannot be used: {sentence}; repair it, or train on the CPU with --device cpu",
        }
    return {**found, "device": device.type, "device_reason": device.reason}


def _dtype(precision: str, device_type: str) -> str | None:
    try:
        return choose_precision(precision, device_type).dtype
    except UserError:
        return None


def _size(spec: str) -> dict[str, Any]:
    try:
        # Only shapes: the weights take neither memory nor time.
        with torch.device("meta"), _WithoutDraws():
            network = backbones.create(spec)
    except UserError as error:
        return {"error": str(error)}
    return {"parameters": backbones.count_parameters(network)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m engine.describe")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("specs", nargs="*")
    options = parser.parse_args()
    print(json.dumps(facts(options.specs, options.device)))
