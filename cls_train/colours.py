"""Colour transforms of training images: one affine change of each image's colours, applied per batch on the device.

Sources: brightness, contrast, saturation and hue are those of MXNet's `image.py` (apache/mxnet, python/mxnet/image),
which GluonCV's recipes for "Bag of Tricks" (1812.01187) used: linear, without clipping to 0..255 in between.
torchvision draws the factors and their order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torchvision.transforms import v2

from backbones.normalisation import IMAGENET_COLOUR_AXES
from engine.augmentation import Affine, ColourTransform, register_batch_transform

# Weights of R, G and B in grey, of ITU-R BT.601.
_GREY = np.array([0.299, 0.587, 0.114])
_TO_GREY = np.tile(_GREY, (3, 1))
_IDENTITY = np.eye(3)
# RGB to YIQ. MXNet has -0.321 and 0.311, with which grey would be tinted, and a rounded inverse, with which a rotation
# by 0 would change an image.
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


@register_batch_transform
class ColorJitter(ColourTransform):
    """Change brightness, contrast, saturation and hue by random factors, in random order.

    Each change is linear in the pixels: brightness b: b x. Contrast c: c x + (1 - c) g, with the mean grey g of the
    image at this point. Saturation s: s x + (1 - s) grey(x). Hue h: a rotation by 2 π h in the IQ plane of YIQ.

    Args:
        brightness: The factor is from U[1 - value, 1 + value], or from an interval.
        contrast: Like `brightness`.
        saturation: Like `brightness`.
        hue: The shift in turns is from U[-value, value], or from an interval; at most half a turn.
    """

    def __init__(
        self,
        brightness: float | tuple[float, float] | None = None,
        contrast: float | tuple[float, float] | None = None,
        saturation: float | tuple[float, float] | None = None,
        hue: float | tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.drawn = v2.ColorJitter(brightness, contrast, saturation, hue)
        self.uses_mean = self.drawn.contrast is not None

    def draw_affine(self) -> Affine:
        """Draw factors and order as torchvision does."""
        params: dict[str, Any] = self.drawn.make_params([])
        factors = [
            params[f"{name}_factor"] for name in ("brightness", "contrast", "saturation", "hue")
        ]
        change = Affine(_IDENTITY)
        for which in params["fn_idx"].tolist():
            if factors[which] is not None:
                change = change.then(_CHANGES[which](factors[which]))
        return change


def brightness(factor: float) -> Affine:
    """Return a change of the brightness."""
    return Affine(factor * _IDENTITY)


def contrast(factor: float) -> Affine:
    """Return a change of the contrast, around the mean grey of the image."""
    return Affine(factor * _IDENTITY, (1 - factor) * _TO_GREY)


def saturation(factor: float) -> Affine:
    """Return a change of the saturation."""
    return Affine(factor * _IDENTITY + (1 - factor) * _TO_GREY)


def hue(turns: float) -> Affine:
    """Return a rotation of the hue, from red to green to blue; MXNet turns the other way, from U[-h, h] too."""
    u, w = math.cos(2 * math.pi * turns), -math.sin(2 * math.pi * turns)
    rotation = np.array([[1, 0, 0], [0, u, -w], [0, w, u]])
    return Affine(_FROM_YIQ @ rotation @ _TO_YIQ)


_CHANGES = (brightness, contrast, saturation, hue)


@register_batch_transform
class PCANoise(ColourTransform):
    """AlexNet's colour noise (1812.01187, §2.1): one shift of the whole image along ImageNet's colour axes.

    The shift is Σ_k α_k λ_k p_k with α_k ~ N(0, std) and the eigenvalues λ_k and eigenvectors p_k of the covariance
    of ImageNet's RGB pixels on the scale 0..255 (Krizhevsky et al. 2012, §4.1; the values are those of MXNet's and
    GluonCV's lighting augmentation).

    Args:
        std: Standard deviation of the coefficients.
    """

    EIGENVALUES = (55.46, 4.794, 1.148)
    EIGENVECTORS = IMAGENET_COLOUR_AXES

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std
        self.axes = np.array(self.EIGENVECTORS) * np.array(self.EIGENVALUES)

    def draw_affine(self) -> Affine:
        """Draw the shift."""
        coefficients = self.std * torch.randn(3).double().numpy()
        return Affine(_IDENTITY, shift=self.axes @ coefficients)
