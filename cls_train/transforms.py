"""Transforms of training images that run per batch on the device: erasing and cutout; `cls_train.colours` has more."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from backbones.normalisation import IMAGENET_MEAN
from contract.errors import UserError, unknown
from engine.augmentation import BatchTransform, register_batch_transform

FILLS = ("constant", "mean", "noise")
# Seeds of noise are stored as float32, which holds integers up to here.
_SEEDS = 2**24


@register_batch_transform
class Erasing(BatchTransform):
    """Erase a random rectangle (Zhong et al., 1708.04896).

    torchvision draws the rectangle. Its noise is N(0, 1), for normalised images; the paper's is U[0, 255].

    Args:
        fill: `'constant'` (black), `'mean'` (ImageNet's mean colour, which is 0 after normalisation) or `'noise'`
            (every value from U[0, 255]).
        p: Probability of erasing.
        scale: Minimum and maximum fraction of the image's area.
        ratio: Minimum and maximum of height divided by width.
    """

    # Top, left, height, width and the seed of the noise.
    count = 5

    def __init__(
        self,
        fill: str = "noise",
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.4),
        ratio: tuple[float, float] = (0.3, 1 / 0.3),
    ) -> None:
        super().__init__()
        if fill not in FILLS:
            raise unknown("fill of Erasing", fill, FILLS)
        self.drawn = v2.RandomErasing(p=p, scale=scale, ratio=ratio)
        self.fill = fill

    def draw(self, height: int, width: int) -> tuple[float, ...]:
        """Draw the rectangle; it is empty if nothing is erased."""
        if torch.rand(1) >= self.drawn.p:
            return (0, 0, 0, 0, 0)
        params: dict[str, Any] = self.drawn.make_params(
            [torch.empty(3, 1, 1).expand(3, height, width)]
        )
        if params["v"] is None:
            return (0, 0, 0, 0, 0)
        seed = int(torch.randint(_SEEDS, ())) if self.fill == "noise" else 0
        return (params["i"], params["j"], params["h"], params["w"], seed)

    def forward(self, images: Tensor, numbers: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Erase in a batch."""
        inside = rectangles(images, numbers)
        if self.fill == "noise":
            noise = uniform_noise(numbers[:, 4], images) * 255
            return torch.where(inside, (noise - mean) / std, images)
        value = mean.new_zeros(3) if self.fill == "constant" else mean.new_tensor(IMAGENET_MEAN)
        return torch.where(inside, (value[:, None, None] - mean) / std, images)


@register_batch_transform
class Cutout(BatchTransform):
    """Fill a square with the mean colour; its centre may be anywhere, so the border may clip it.

    DeVries and Taylor, 1708.04552.

    Args:
        size: Side of the square as a fraction of the image's shorter side, in (0, 1].
    """

    # Top, left, height and width.
    count = 4

    def __init__(self, size: float = 0.5) -> None:
        super().__init__()
        if not 0 < size <= 1:
            raise UserError(
                f"Cutout size={size} was given; it is a part of the image's side, in (0, 1]"
            )
        self.size = size

    def draw(self, height: int, width: int) -> tuple[float, ...]:
        """Draw the square; it may extend beyond the image."""
        side = round(self.size * min(height, width))
        top = int(torch.randint(height, ())) - side // 2
        left = int(torch.randint(width, ())) - side // 2
        return (top, left, side, side)

    def forward(self, images: Tensor, numbers: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Fill the squares of a batch."""
        value = mean.new_tensor(IMAGENET_MEAN)[:, None, None]
        return torch.where(rectangles(images, numbers), (value - mean) / std, images)


def rectangles(images: Tensor, numbers: Tensor) -> Tensor:
    """Return which pixels are inside each image's rectangle, `(N, 1, H, W)`.

    Args:
        images: `(N, 3, H, W)`.
        numbers: Top, left, height and width of each rectangle in pixels, `(N, 4 or more)`.
    """
    top, left, height, width = numbers[:, :4, None].unbind(1)
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    in_rows = (rows >= top) & (rows < top + height)
    in_columns = (columns >= left) & (columns < left + width)
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]


def uniform_noise(seeds: Tensor, images: Tensor) -> Tensor:
    """Return a value in [0, 1] for each pixel and channel, as a function of the seed and the pixel's index.

    A device's own generator would give other values on a CPU than on a GPU. A counter is hashed instead, with integers
    only: two rounds of multiplication and shifts, as in MurmurHash3's finaliser.

    Args:
        seeds: An integer below 2²⁴ for each image `(N,)`, of any type.
        images: `(N, 3, H, W)`, for shape and device.
    """
    channels, height, width = images.shape[1:]
    index = torch.arange(height * width, device=images.device).reshape(1, height, width)
    start = _hash(seeds.to(torch.int64))[:, None, None]
    noise = torch.empty_like(images)
    # One channel at a time: the integers take eight bytes each.
    for channel in range(channels):
        value = _hash((index + channel * height * width) ^ start)
        noise[:, channel] = (value >> 8).float() / (2**24 - 1)
    return noise


def _hash(value: Tensor) -> Tensor:
    """Hash integers of 32 bits to integers of 32 bits; int64 tensors, whose products do not overflow."""
    low = 0xFFFFFFFF
    value = ((value ^ (value >> 16)) * 0x7FEB352D) & low
    value = ((value ^ (value >> 15)) * 0x21F0AAAD) & low
    return value ^ (value >> 15)
