"""Transforms of training images that torchvision does not have: erasing, and colour noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from backbones.normalisation import IMAGENET_COLOUR_AXES, IMAGENET_MEAN
from contract.errors import UserError, unknown
from engine.image_folder import register_transform

FILLS = ("constant", "mean", "noise")


@register_transform
class Erasing(v2.RandomErasing):
    """Erase a random rectangle of a float image on the scale 0 to 255 (Zhong et al., 1708.04896).

    torchvision draws the rectangle. Its noise is N(0, 1), for normalised images; the paper's is U[0, 255].

    Args:
        fill: `'constant'` (black), `'mean'` (ImageNet's mean colour, which is 0 after normalisation) or `'noise'`
            (every value from U[0, 255]).
        p: Probability of erasing.
        scale: Minimum and maximum fraction of the image's area.
        ratio: Minimum and maximum of height divided by width.
    """

    def __init__(
        self,
        fill: str = "noise",
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.4),
        ratio: tuple[float, float] = (0.3, 1 / 0.3),
    ) -> None:
        if fill not in FILLS:
            raise unknown("fill of Erasing", fill, FILLS)
        # torchvision also accepts tuples, unlike its annotations.
        value: Any = IMAGENET_MEAN if fill == "mean" else 0
        super().__init__(p=p, scale=scale, ratio=ratio, value=value)
        self.fill = fill

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the rectangle and its fill."""
        params = super().make_params(flat_inputs)
        if self.fill == "noise" and params["v"] is not None:
            channels = flat_inputs[0].shape[-3]
            params["v"] = torch.empty(channels, params["h"], params["w"]).uniform_(0, 255)
        return params


@register_transform
class Cutout(nn.Module):
    """Fill a square with the mean colour; its centre may be anywhere, so the border may clip it.

    DeVries and Taylor, 1708.04552.

    Args:
        size: Side of the square as a fraction of the image's shorter side, in (0, 1].
    """

    def __init__(self, size: float = 0.5) -> None:
        super().__init__()
        if not 0 < size <= 1:
            raise UserError(
                f"Cutout size={size} was given; it is a part of the image's side, in (0, 1]"
            )
        self.size = size

    def forward(self, image: Tensor) -> Tensor:
        """Erase in a float image `(3, H, W)` on the scale 0 to 255."""
        height, width = image.shape[-2:]
        side = round(self.size * min(height, width))
        top = int(torch.randint(height, ())) - side // 2
        left = int(torch.randint(width, ())) - side // 2
        erased = image.clone()
        rows = slice(max(top, 0), max(top + side, 0))
        columns = slice(max(left, 0), max(left + side, 0))
        erased[..., rows, columns] = image.new_tensor(IMAGENET_MEAN)[:, None, None]
        return erased


@register_transform
class PCANoise(nn.Module):
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
        self.axes = torch.tensor(self.EIGENVECTORS) * torch.tensor(self.EIGENVALUES)

    def forward(self, image: Tensor) -> Tensor:
        """Shift a float image `(3, H, W)` on the scale 0..255."""
        coefficients = torch.from_numpy(np.random.normal(0, self.std, 3).astype(np.float32))
        return image + (self.axes @ coefficients)[:, None, None]
