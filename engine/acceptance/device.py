"""Describe the device, and compute something on each GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from contract.acceptance import Line, print_facts
from contract.errors import UserError
from contract.settings import PRECISIONS
from engine.gpus import arch_supported
from engine.runner.device import device
from engine.runner.precision import choose_precision

_TOLERANCE = 2e-3


def check_device(device_type: str) -> Iterator[Line]:
    """Print the facts, and yield a line for the device and lines for each GPU."""
    facts = describe(device_type)
    print_facts(facts)
    yield Line(
        check="device",
        found=f"{facts['type']}: {facts['name']}; torch {torch.__version__}",
        expected="the device that was asked for",
        verdict="ok",
    )
    for index, gpu in enumerate(facts["gpus"]):
        yield _architecture(index, gpu)
        yield _compute(index)


def describe(device_type: str) -> dict[str, Any]:
    """Return type, name, dtypes by precision, reasons of those that are refused, and the GPUs."""
    dtypes, refusals = {}, {}
    for name in PRECISIONS:
        try:
            dtypes[name] = choose_precision(name, device_type).dtype
        except UserError as error:
            refusals[name] = str(error)
    gpus = [_gpu(i) for i in range(torch.cuda.device_count())] if device_type == "cuda" else []
    return {
        "type": device_type,
        "name": device(device_type)["name"],
        "dtypes": dtypes,
        "refusals": refusals,
        "gpus": gpus,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if device_type == "cuda" else None,
        "architectures": torch.cuda.get_arch_list() if device_type == "cuda" else [],
    }


def _gpu(index: int) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(index)
    return {
        "name": properties.name,
        "capability": [properties.major, properties.minor],
        "memory_bytes": properties.total_memory,
    }


def _architecture(index: int, gpu: dict[str, Any]) -> Line:
    major, minor = gpu["capability"]
    return Line(
        check=f"architecture of GPU {index}",
        found=f"sm_{major}{minor}",
        expected=f"one that torch is built for: {', '.join(torch.cuda.get_arch_list())}",
        verdict="ok" if arch_supported((major, minor)) else "failed",
    )


def _compute(index: int) -> Line:
    """Convolve and multiply on a GPU, and compare with the CPU."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 8, 16, 16, generator=generator)
    weight = torch.randn(4, 8, 3, 3, generator=generator)
    matrix = torch.randn(4 * 14 * 14, 5, generator=generator)

    def run(place: str) -> torch.Tensor:
        found = torch.nn.functional.conv2d(images.to(place), weight.to(place))
        return (found.flatten(1) @ matrix.to(place)).cpu()

    expected = run("cpu")
    difference = float((run(f"cuda:{index}") - expected).abs().max() / expected.abs().max())
    return Line(
        check=f"convolution and product on GPU {index}",
        found=f"{difference:.1e} off",
        # TF32 rounds factors to 11 bits.
        expected=f"the CPU's numbers, within {_TOLERANCE:.0e} of the largest",
        verdict="ok" if difference <= _TOLERANCE else "failed",
    )
