"""What a backbone computes on one fixed image: carried along with its weights, and compared where they arrive.

Equal tensors prove that the weights went in, not that the network computes with them what it was trained to: another
version of a library may pad, pool or normalise in another way under the same names.
"""

from __future__ import annotations

import copy
import itertools
import math

import torch
from torch import Tensor

from backbones.backbone import Backbone
from backbones.zoo import create

# Small, not square, and a multiple of the coarsest stride.
_HEIGHT, _WIDTH = 64, 96
# A network without padding is left with no cell of that; Inception-V3 takes 75 pixels.
_UNPADDED_FACTOR = 2
_COARSEST = 32
_VALUES_PER_MAP = 16
# Enough to see an error of a ten-thousandth.
_DIGITS = 6

Probed = tuple[tuple[float, ...], ...]


def probe(network: Backbone, spec: str) -> Probed:
    """Values of each feature map of a network on the probe image, in evaluation mode on the CPU.

    A dilated network is probed at its coarsest form: dilated it computes the same on a common grid, but for gates that
    see the whole map.

    Args:
        network: A backbone on any device, unchanged by this.
        spec: What :func:`backbones.create` built it from.

    Returns:
        For each map 16 values, evenly spaced over it in row-major order, and its largest magnitude last; all to six
        significant digits. Nothing where one is not finite.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        if network.output_stride == _COARSEST or network.plain:
            # Its own code computes, not that of a new one.
            plain = copy.deepcopy(network).cpu()
        else:
            plain = create(spec, output_stride=_COARSEST)
            plain.load_state_dict(network.state_dict())
        plain = plain.to(memory_format=torch.contiguous_format).eval()
        image = _image(1 if plain.aligned else _UNPADDED_FACTOR)
        try:
            # In float64 all digits that are kept are the same on every machine.
            maps = plain.double()(image.double())
        except RuntimeError:
            # Networks that ask for float32 somewhere inside.
            maps = plain.float()(image)
        found = tuple(_values(values) for values in maps)
    return found if all(map(math.isfinite, itertools.chain(*found))) else ()


def _image(factor: int = 1) -> Tensor:
    """A smooth picture of many frequencies, made without a random generator; (1, 3, H, W), about standardised."""
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


def difference(found: Probed, wanted: Probed) -> float:
    """The largest difference of two probes, relative to the largest magnitude of its map.

    Returns:
        0 where they are equal; infinity where they have another number of maps, or a value is not finite.
    """
    if len(found) != len(wanted):
        return math.inf
    worst = 0.0
    for ours, theirs in zip(found, wanted, strict=True):
        scale = max(abs(theirs[-1]), 1e-12)
        error = max(abs(a - b) / scale for a, b in zip(ours, theirs, strict=True))
        worst = max(worst, error if math.isfinite(error) else math.inf)
    return worst


__all__ = ["Probed", "difference", "probe"]
