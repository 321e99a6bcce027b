"""Transforms that erase a part of an image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from contract.errors import UserError, unknown

# ImageNet's mean colour (paper §2.1), which becomes 0 when the batch is normalised.
MEAN = (123.68, 116.779, 103.939)
FILLS = ("constant", "mean", "noise")


class Erasing(v2.RandomErasing):
    """Erase a random rectangle of a float image on the scale 0 to 255 (Zhong et al., 1708.04896).

    torchvision finds the rectangle. Its own noise is N(0, 1), made for normalised images; the paper's is U[0, 255].

    Args:
        fill: `'constant'` (black), `'mean'` (ImageNet's) or `'noise'` (every value from U[0, 255]).
        p: Probability to erase at all.
        scale: Least and most of the image's area.
        ratio: Least and most of height over width.
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
        super().__init__(p=p, scale=scale, ratio=ratio, value=MEAN if fill == "mean" else 0)  # pyright: ignore[reportArgumentType]
        self.fill = fill

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the rectangle, and what it is filled with."""
        params = super().make_params(flat_inputs)
        if self.fill == "noise" and params["v"] is not None:
            channels = flat_inputs[0].shape[-3]
            params["v"] = torch.empty(channels, params["h"], params["w"]).uniform_(0, 255)
        return params


class Cutout(nn.Module):
    """Fill a square with the mean colour; its centre may lie anywhere, so that it may be cut off at the border.

    DeVries and Taylor, 1708.04552.

    Args:
        size: Side of the square, as a part of the image's shorter side, in (0, 1].
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
        erased[..., rows, columns] = image.new_tensor(MEAN)[:, None, None]
        return erased
