"""Describe the device, and compute something on each GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from contract.acceptance import Line, print_facts
from contract.errors import UserError
from contract.settings import PRECISIONS
from engine.runner.device import _cpu_name
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
        "name": gpus[0]["name"] if gpus else _cpu_name(),
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
    built = torch.cuda.get_arch_list()
    major, minor = gpu["capability"]
    good = supported(major, minor, built)
    return Line(
        check=f"architecture of GPU {index}",
        found=f"sm_{major}{minor}",
        expected=f"one that torch is built for: {', '.join(built)}",
        verdict="ok" if good else "failed",
    )


def supported(major: int, minor: int, architectures: list[str]) -> bool:
    """Return whether a build of torch has code for a GPU.

    Machine code (`sm_86`) runs on GPUs of the same major version and at least this minor one; intermediate code
    (`compute_90`) is compiled for every later GPU.

    Args:
        major: Compute capability of the GPU.
        minor: Its second number.
        architectures: As `torch.cuda.get_arch_list` returns them. AMD's (`gfx90a`) are not judged.
    """
    for name in architectures:
        kind, _, number = name.partition("_")
        digits = "".join(filter(str.isdigit, number))
        if not digits:
            return True
        built = divmod(int(digits), 10)
        if kind == "compute" and built <= (major, minor):
            return True
        if kind == "sm" and built[0] == major and built[1] <= minor:
            return True
    return False


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
