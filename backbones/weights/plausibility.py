"""Check imported weights: compare their batch statistics with those of noise that resembles photographs.

A weight file does not contain the normalisation of images. A square tensor has the shape of its transpose, and two
layers may have the same shape. But each batch normalisation stores the mean and the variance of its inputs. With the
right weights and normalisation, noise with the spectrum and the colours of photographs gives similar values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from backbones.backbone import Backbone
from backbones.normalisation import IMAGENET_COLOUR_AXES, Normalisation

# Limits of the input-scale ratio. 15 networks, trained on ImageNet, CIFAR-10 and miniworld, had a ratio of at most
# 1.4 with the right normalisation, and at least 1.65 with the next one.
RIGHT, CLEARER, IMPOSSIBLE = 1.5, 1.5, 7.0
# No layer of 10 such networks had a correlation below 0.51; docs/backbones.md lists values for wrong weights.
LEAST_CORRELATION = 0.4
# A correlation over fewer channels is not reliable.
_LEAST_CHANNELS = 16
_IMAGES, _SIDE = 4, 224
# Colours of ImageNet's pixels on the scale 0 to 1: torchvision's mean, and the eigenvalues of their covariance.
_MEAN = (0.485, 0.456, 0.406)
_EIGENVALUES = (0.2175, 0.0188, 0.0045)


class _EnoughError(Exception):
    """Ends a forward pass as soon as all values are known."""


def input_scale_ratios(
    network: Backbone, normalisations: Mapping[str, Normalisation]
) -> dict[str, float]:
    """Compare the scale of the inputs in training with the scale that each normalisation gives.

    Args:
        network: The network with the weights, on the CPU; it is left in evaluation mode and otherwise unchanged.
        normalisations: By name.

    Returns:
        By name, the ratio of the standard deviation in training to the present one: the median over the channels of
        the first convolution. Empty if no batch normalisation follows it, or if its statistics have their initial
        values.
    """
    ratios = {}
    for name, normalisation in normalisations.items():
        found = _first_outputs(network, _noise_like_photographs(normalisation))
        if found is None:
            return {}
        outputs, norm = found
        variances: Any = norm.running_var
        if bool((variances == 1).all()):
            return {}
        squared = variances / outputs.var(dim=(0, 2, 3)).clamp(min=1e-30)
        ratios[name] = float(squared.median().sqrt())
    return ratios


def normalisation_warning(ratios: Mapping[str, float], named: str) -> tuple[str, bool]:
    """Return a warning if another normalisation fits the weights much better.

    Args:
        ratios: From `input_scale_ratios`, `named` among them.
        named: The normalisation that the user named.

    Returns:
        A sentence or an empty string, and whether the mismatch is large enough to refuse the import.
    """
    if not ratios:
        return "", False
    off = {name: _off(ratio) for name, ratio in ratios.items()}
    best = min(off, key=lambda name: off[name])
    if off[best] > RIGHT or off[named] < CLEARER * off[best]:
        return "", False
    ratio = ratios[named]
    return (
        f"in training, the inputs of the first batch normalisation were about {ratio:.2g} times as large as the "
        f"normalisation {named!r} gives for photographs; {best!r} fits (ratio {ratios[best]:.2g})",
        off[named] > IMPOSSIBLE,
    )


def correlations(network: Backbone, normalisation: Normalisation) -> dict[str, float]:
    """Correlate the batch statistics of each layer with those of its inputs on noise that resembles photographs.

    Args:
        network: The network with the weights, on the CPU; it is left in evaluation mode and otherwise unchanged.
        normalisation: The normalisation with which the weights were trained.

    Returns:
        For each batch normalisation of 16 or more channels, by name and in the order of computation, the larger of two
        correlations over its channels: of the means, and of the logarithms of the variances. Layers whose statistics
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
        both = [
            _correlation(mean, module.running_mean),
            _correlation((variance + floor).log(), (module.running_var + floor).log()),
        ]
        known = [value for value in both if value is not None]
        if known and len(mean) >= _LEAST_CHANNELS:
            found[names[module]] = max(known)

    with _watched(network, compare):
        _run(network, _noise_like_photographs(normalisation))
    return found


def _correlation(first: Tensor, second: Tensor) -> float | None:
    """Return Pearson's correlation; None if the second tensor is constant."""
    first, second = first - first.mean(), second - second.mean()
    if float(second.norm()) <= 1e-6 * math.sqrt(len(second)):
        return None
    return float((first * second).sum() / (first.norm() * second.norm()).clamp(min=1e-30))


def _off(ratio: float) -> float:
    """Return how far a ratio is from 1, as a factor of 1 or more."""
    return math.inf if ratio <= 0 else max(ratio, 1 / ratio)


def _first_outputs(network: Backbone, inputs: Tensor) -> tuple[Tensor, nn.BatchNorm2d] | None:
    """Return the output of the first convolution and the batch normalisation after it; None if there is none."""
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
    """Call `see` with each batch normalisation that has statistics, and its input, before it computes."""
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
    """Run the network, if it accepts images of this size."""
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        return
    try:
        network.eval()(inputs)
    except (_EnoughError, RuntimeError):
        return


def _noise_like_photographs(normalisation: Normalisation) -> Tensor:
    """Return normalised noise that resembles photographs, (N, 3, H, W).

    Its amplitude falls with the frequency f as 1/f (Field 1987); its colours have the covariance of ImageNet's pixels.
    """
    generator = torch.Generator().manual_seed(0)
    down = torch.fft.fftfreq(_SIDE)[:, None]
    across = torch.fft.rfftfreq(_SIDE)[None]
    frequency = (down**2 + across**2).sqrt()
    frequency[0, 0] = 1 / _SIDE
    white = torch.randn(_IMAGES, 3, _SIDE, _SIDE, generator=generator)
    noise = torch.fft.irfft2(torch.fft.rfft2(white) / frequency, s=(_SIDE, _SIDE))
    noise = noise / noise.std(dim=(0, 2, 3), keepdim=True)
    axes = torch.tensor(IMAGENET_COLOUR_AXES) * torch.tensor(_EIGENVALUES).sqrt()
    colours = torch.einsum("nchw,dc->ndhw", noise, axes)
    images = 255 * (colours + torch.tensor(_MEAN).view(3, 1, 1))
    mean, std, order = normalisation
    images = images if order == "RGB" else images.flip(1)
    return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
