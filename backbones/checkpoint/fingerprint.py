"""The feature fingerprint: features of a backbone on one fixed image, stored with its weights.

Equal tensors prove that the weights were loaded. They do not prove that the network computes the same features:
another version of a library may pad, pool or normalise differently with the same parameter names.
"""

from __future__ import annotations

import copy
import itertools
import math

import torch
from torch import Tensor

from backbones.backbone import OUTPUT_STRIDES, Backbone
from backbones.zoo import create

# Small, not square, and a multiple of the coarsest stride.
_HEIGHT, _WIDTH = 64, 96
# Without padding, an image of that size is too small; Inception-V3 needs 75 pixels.
_UNPADDED_FACTOR = 2
_VALUES_PER_MAP = 16
# Enough digits to detect a relative error of a ten-thousandth.
_DIGITS = 6

Fingerprint = tuple[tuple[float, ...], ...]


def fingerprint(network: Backbone, spec: str) -> Fingerprint:
    """Return values of each feature map on the fixed image, computed in evaluation mode on the CPU.

    A dilated network has the fingerprint of its undilated form. Both compute the same on the common grid, except for
    gates that see the whole map.

    Args:
        network: A backbone on any device; it is not changed.
        spec: The spec that `backbones.create` built it from.

    Returns:
        For each map, 16 evenly spaced values in row-major order and then the largest magnitude, with six significant
        digits. An empty tuple if a value is not finite.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        plain = _undilated(network, spec).to(memory_format=torch.contiguous_format).eval()
        image = _image(1 if plain.aligned else _UNPADDED_FACTOR)
        try:
            # In float64, all stored digits are the same on every machine.
            maps = plain.double()(image.double())
        except RuntimeError:
            # Some networks convert to float32 inside.
            maps = plain.float()(image)
        found = tuple(_values(values) for values in maps)
    return found if all(map(math.isfinite, itertools.chain(*found))) else ()


def _undilated(network: Backbone, spec: str) -> Backbone:
    """Return a copy on the CPU at output stride 32."""
    if network.plain or network.output_stride == OUTPUT_STRIDES[0]:
        return copy.deepcopy(network).cpu()
    plain = create(spec)
    plain.load_state_dict(network.state_dict())
    return plain


def _image(factor: int = 1) -> Tensor:
    """Return a smooth image of many frequencies, (1, 3, H, W), roughly standardised, without a random generator."""
    y = torch.arange(factor * _HEIGHT, dtype=torch.float32).view(1, -1, 1)
    x = torch.arange(factor * _WIDTH, dtype=torch.float32).view(1, 1, -1)
    channel = torch.arange(1, 4, dtype=torch.float32).view(3, 1, 1)
    chirp = torch.sin(0.011 * channel * x * x / 4 + 0.3 * y) + torch.cos(
        0.017 * y * y / 3 - 0.2 * x
    )
    return chirp.unsqueeze(0)


def _values(values: Tensor) -> tuple[float, ...]:
    flat = values.contiguous().flatten()
    positions = torch.linspace(0, flat.numel() - 1, _VALUES_PER_MAP).long()
    return tuple(_rounded(float(value)) for value in [*flat[positions], flat.abs().max()])


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def difference(found: Fingerprint, expected: Fingerprint) -> float:
    """Return the largest difference between two fingerprints, relative to the largest magnitude of the map.

    Returns:
        0 if they are equal; infinity if they have different numbers of maps, or a value is not finite.
    """
    if len(found) != len(expected):
        return math.inf
    worst = 0.0
    for ours, theirs in zip(found, expected, strict=True):
        scale = max(abs(theirs[-1]), 1e-12)
        error = max(abs(a - b) / scale for a, b in zip(ours, theirs, strict=True))
        worst = max(worst, error if math.isfinite(error) else math.inf)
    return worst
