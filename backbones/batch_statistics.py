"""What batch statistics remember of a training, held against what photographs would give.

No file says how its images were normalised, no shape tells a square tensor from its transpose, and two layers of one
form are alike. But every batch normalisation remembers mean and variance of its inputs. On noise with the spectrum and
the colours of photographs a network that was put together rightly has similar ones, at every depth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from backbones.backbone import Backbone

Normalisation = tuple[tuple[float, float, float], tuple[float, float, float], str]
# Of 15 networks, from ImageNet, CIFAR-10 and a generated world, the right normalisation was off by a factor of at most
# 1.4 and the next one by 1.65 and more.
RIGHT, CLEARER, IMPOSSIBLE = 1.5, 1.5, 7.0
# Of 10 such networks no layer agreed less than 0.51; docs/backbones.md says what wrong ones gave.
LEAST_AGREEMENT = 0.4
# The correlation of fewer channels is chance.
_LEAST_CHANNELS = 16
_IMAGES, _SIDE = 4, 224
# Mean, and principal components of the colours of ImageNet's pixels on the scale 0 to 1, as eigenvalues of their
# covariance with eigenvectors: torchvision's mean; Krizhevsky et al. 2012, §4.1, in the numbers of fb.resnet.torch.
_MEAN = (0.485, 0.456, 0.406)
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


class _EnoughError(Exception):
    """Ends a forward pass where all is known."""


def spread_factors(
    network: Backbone, normalisations: Mapping[str, Normalisation]
) -> dict[str, float]:
    """How much larger the inputs were that a network was trained with than those which normalisations make.

    Args:
        network: With the weights, on the CPU; left in evaluation mode, and else unchanged.
        normalisations: By name: mean and standard deviation on the scale 0 to 255, and the order of channels.

    Returns:
        By name, the factor on the standard deviation: the median over the channels of the first convolution. Nothing
        where no batch normalisation follows it, or its statistics are those of a network that never saw an image.
    """
    factors = {}
    for name, normalisation in normalisations.items():
        found = _first_outputs(network, _photographs(normalisation))
        if found is None:
            return {}
        outputs, norm = found
        variances: Any = norm.running_var
        if bool((variances == 1).all()):
            return {}
        ratios = variances / outputs.var(dim=(0, 2, 3)).clamp(min=1e-30)
        factors[name] = float(ratios.median().sqrt())
    return factors


def objection(factors: Mapping[str, float], named: str) -> tuple[str, bool]:
    """What speaks against a normalisation.

    Args:
        factors: As `spread_factors` returns them, with `named` among them.
        named: The one that was named.

    Returns:
        A sentence, empty where nothing does; and whether it is sure enough to refuse.
    """
    if not factors:
        return "", False
    off = {name: _off(factor) for name, factor in factors.items()}
    best = min(off, key=lambda name: off[name])
    if off[best] > RIGHT or off[named] < CLEARER * off[best]:
        return "", False
    factor = factors[named]
    larger = f"{factor:.2g} times as large as" if factor >= 1 else f"{factor:.2g} of"
    return (
        f"the first batch normalisation was trained on inputs about {larger} what the normalisation {named!r} makes of "
        f"photographs, and {best!r} fits (factor {factors[best]:.2g})",
        off[named] > IMPOSSIBLE,
    )


def agreements(network: Backbone, normalisation: Normalisation) -> dict[str, float]:
    """How far the batch statistics of each layer agree with its inputs on noise like photographs.

    Args:
        network: With the weights, on the CPU; left in evaluation mode, and else unchanged.
        normalisation: Mean and standard deviation on the scale 0 to 255, and the order of channels.

    Returns:
        By the name of each batch normalisation of 16 and more channels, in the order of computation, the larger of two
        correlations over its channels: of the means, and of the logarithms of the variances. Those whose statistics
        are the same in all channels are left out.
    """
    names = {
        module: name
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    found: dict[str, float] = {}

    def compare(module: Any, inputs: Tensor) -> None:
        variance, mean = torch.var_mean(inputs, dim=(0, 2, 3))
        floor = 1e-6
        told = [
            _correlation(mean, module.running_mean),
            _correlation((variance + floor).log(), (module.running_var + floor).log()),
        ]
        known = [value for value in told if value is not None]
        if known and len(mean) >= _LEAST_CHANNELS:
            found[names[module]] = max(known)

    with _watched(network, compare):
        _run(network, _photographs(normalisation))
    return found


def _correlation(first: Tensor, second: Tensor) -> float | None:
    """Pearson's; None where the second does not vary."""
    first, second = first - first.mean(), second - second.mean()
    if float(second.norm()) <= 1e-6 * math.sqrt(len(second)):
        return None
    return float((first * second).sum() / (first.norm() * second.norm()).clamp(min=1e-30))


def _off(factor: float) -> float:
    """By which factor, 1 or more, something is wrong in either direction."""
    return math.inf if factor <= 0 else max(factor, 1 / factor)


def _first_outputs(network: Backbone, inputs: Tensor) -> tuple[Tensor, nn.BatchNorm2d] | None:
    """What the first convolution gives to a batch normalisation with statistics, and that."""
    outputs: list[Tensor] = []
    found: list[tuple[Tensor, nn.BatchNorm2d]] = []

    def after_convolution(_: nn.Module, given: Any, output: Tensor) -> None:
        if not outputs and given[0].shape[1] == inputs.shape[1]:
            outputs.append(output)

    def before_norm(module: Any, given: Tensor) -> None:
        if outputs and given is outputs[0]:
            found.append((given, module))
        raise _EnoughError

    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    hooks = [module.register_forward_hook(after_convolution) for module in convolutions]
    try:
        with _watched(network, before_norm):
            _run(network, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


@contextmanager
def _watched(network: Backbone, see: Callable[[Any, Tensor], None]) -> Iterator[None]:
    """Show every batch normalisation that has statistics, with its input, before it computes."""
    hooks = [
        module.register_forward_pre_hook(lambda norm, given: see(norm, given[0]))
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def _run(network: Backbone, inputs: Tensor) -> None:
    """Compute, where the network takes this size of image."""
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        return
    try:
        network.eval()(inputs)
    except (_EnoughError, RuntimeError):
        return


def _photographs(normalisation: Normalisation) -> Tensor:
    """Normalised noise like photographs, (N, 3, H, W).

    Its amplitude falls with the frequency as 1/f (Field 1987); its colours have the covariance of ImageNet's pixels.
    """
    generator = torch.Generator().manual_seed(0)
    down = torch.fft.fftfreq(_SIDE)[:, None]
    across = torch.fft.rfftfreq(_SIDE)[None]
    frequency = (down**2 + across**2).sqrt()
    frequency[0, 0] = 1 / _SIDE
    white = torch.randn(_IMAGES, 3, _SIDE, _SIDE, generator=generator)
    noise = torch.fft.irfft2(torch.fft.rfft2(white) / frequency, s=(_SIDE, _SIDE))
    noise = noise / noise.std(dim=(0, 2, 3), keepdim=True)
    axes = torch.tensor(_EIGENVECTORS) * torch.tensor(_EIGENVALUES).sqrt()
    colours = torch.einsum("nchw,dc->ndhw", noise, axes)
    images = 255 * (colours + torch.tensor(_MEAN).view(3, 1, 1))
    mean, std, order = normalisation
    images = images if order == "RGB" else images.flip(1)
    return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


__all__ = ["LEAST_AGREEMENT", "Normalisation", "agreements", "objection", "spread_factors"]
