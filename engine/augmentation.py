"""Random changes of training images that run per batch on the training device.

A loader worker draws the numbers of each sample, from the generator that is seeded with (seed, epoch, index); the data
preprocessor applies them to the whole batch. uint8 images therefore leave the workers, and a sample is the same on
every device and with any number of workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from contract.errors import UserError

# Our batch transforms, by name; they have priority over torchvision's transforms.
BATCH_TRANSFORMS: dict[str, type[BatchTransform]] = {}


class BatchTransform(nn.Module, ABC):
    """A random change of a batch of images.

    Attributes:
        count: How many numbers `draw` returns for each image.
    """

    count: ClassVar[int]

    @abstractmethod
    def draw(self, height: int, width: int) -> Sequence[float]:
        """Draw the numbers of one image of this size, from torch's global CPU generator.

        They are stored as float32, which holds integers up to 2²⁴ exactly.
        """

    @abstractmethod
    def forward(self, images: Tensor, numbers: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Change float images.

        Args:
            images: `(N, 3, H, W)`, the pixels of scale 0 to 255 after subtraction of `mean` and division by `std`.
            numbers: `(N, count)`, each row from `draw`.
            mean: `(3, 1, 1)`; 0 if the images are not normalised yet.
            std: `(3, 1, 1)`; 1 if the images are not normalised yet.
        """


class Affine:
    """An affine change of an image's colours: y = M x + N μ + p for each pixel x, where μ is the image's mean colour.

    Args:
        pixel: M `(3, 3)`.
        mean: N `(3, 3)`; None for 0.
        shift: p `(3,)`, on the scale 0 to 255; None for 0.
    """

    def __init__(
        self, pixel: np.ndarray, mean: np.ndarray | None = None, shift: np.ndarray | None = None
    ) -> None:
        self.pixel, self.mean, self.shift = pixel, mean, shift

    def then(self, other: Affine) -> Affine:
        """Return this change, followed by another one."""
        pixel = other.pixel @ self.pixel
        mean = None if self.mean is None else other.pixel @ self.mean
        shift = None if self.shift is None else other.pixel @ self.shift
        if other.mean is not None:
            # μ of the changed image is (M + N) μ + p.
            from_mean = self.pixel if self.mean is None else self.pixel + self.mean
            mean = _sum(mean, other.mean @ from_mean)
            shift = shift if self.shift is None else _sum(shift, other.mean @ self.shift)
        return Affine(pixel, mean, _sum(shift, other.shift))

    def numbers(self) -> list[float]:
        """Return M, N and p as one list."""
        mean = np.zeros((3, 3)) if self.mean is None else self.mean
        shift = np.zeros(3) if self.shift is None else self.shift
        return [*self.pixel.ravel().tolist(), *mean.ravel().tolist(), *shift.tolist()]


def _sum(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


class ColourTransform(BatchTransform):
    """A random affine change of colours; several in a row become one.

    Attributes:
        uses_mean: Whether the change depends on the image's mean colour.
    """

    count = 21
    uses_mean = False

    @abstractmethod
    def draw_affine(self) -> Affine:
        """Draw the change of one image, from torch's global CPU generator."""

    def draw(self, height: int, width: int) -> list[float]:
        """Return the numbers of one image."""
        return self.draw_affine().numbers()

    def forward(self, images: Tensor, numbers: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Change images that are not normalised yet, and normalise them."""
        return change_colours(images, numbers, mean, std, uses_mean=self.uses_mean)


class _Joint(ColourTransform):
    """Colour transforms that follow each other."""

    def __init__(self, parts: Sequence[ColourTransform]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.uses_mean = any(part.uses_mean for part in parts)

    def draw_affine(self) -> Affine:
        first, *others = [part.draw_affine() for part in self.parts]  # pyright: ignore[reportCallIssue]
        for other in others:
            first = first.then(other)
        return first


def change_colours(
    images: Tensor, numbers: Tensor, mean: Tensor, std: Tensor, *, uses_mean: bool = True
) -> Tensor:
    """Apply an affine change of the colours to each image and normalise it, in one 3 × 4 matrix.

    Only element-wise operations: a matrix product would be computed in bfloat16 or TF32 where training uses them.

    Args:
        images: `(N, 3, H, W)` on the scale 0 to 255, of any type.
        numbers: `(N, 21)`, of `Affine.numbers`.
        mean: `(3, 1, 1)`.
        std: `(3, 1, 1)`.
        uses_mean: Whether N may differ from 0.
    """
    count = len(images)
    pixel = numbers[:, :9].reshape(count, 3, 3)
    shift = numbers[:, 18:]
    if uses_mean:
        from_mean = numbers[:, 9:18].reshape(count, 3, 3)
        # Sums of integers are exact, so that all devices get the same mean.
        total = images.sum(dim=(2, 3), dtype=None if images.is_floating_point() else torch.int64)
        colour = total.float() / (images.shape[2] * images.shape[3])
        shift = shift + (from_mean * colour[:, None, :]).sum(dim=2)
    pixel = pixel / std.reshape(1, 3, 1)
    shift = (shift - mean.reshape(1, 3)) / std.reshape(1, 3)
    source = images.float()
    changed = torch.empty_like(source)
    for channel in range(3):
        value = changed[:, channel]
        torch.mul(source[:, 0], pixel[:, channel, 0, None, None], out=value)
        value.addcmul_(source[:, 1], pixel[:, channel, 1, None, None])
        value.addcmul_(source[:, 2], pixel[:, channel, 2, None, None])
        value.add_(shift[:, channel, None, None])
    return changed


def register_batch_transform(cls: type[BatchTransform]) -> type[BatchTransform]:
    """Register a transform of batches for use in configs."""
    BATCH_TRANSFORMS[cls.__name__] = cls
    return cls


def build_batch_transform(config: Mapping[str, Any]) -> BatchTransform:
    """Build a registered transform.

    Raises:
        UserError: Its arguments are wrong.
    """
    arguments = dict(config)
    name = arguments.pop("type")
    try:
        return BATCH_TRANSFORMS[name](**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"the transform {name}: {error}") from None


class Augmentation(nn.Module):
    """Batch transforms in order, with the normalisation.

    Loader workers call `draw`, and the data preprocessor calls the module.

    Args:
        transforms: Config of each transform.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        built = [build_batch_transform(config) for config in transforms]
        steps: list[BatchTransform] = []
        for is_colour, group in groupby(built, lambda one: isinstance(one, ColourTransform)):
            members: list[Any] = list(group)
            steps += [_Joint(members)] if is_colour else members
        self.steps = nn.ModuleList(steps)
        colours = [n for n, step in enumerate(steps) if isinstance(step, ColourTransform)]
        # The normalisation becomes part of the last change of colours; without one, it comes first.
        self.last_colour = colours[-1] if colours else None

    def draw(self, height: int, width: int) -> Tensor:
        """Draw the numbers of one image `(K,)`."""
        drawn: list[float] = []
        for step in self.steps:
            drawn += step.draw(height, width)  # pyright: ignore[reportCallIssue]
        return torch.tensor(drawn, dtype=torch.float32)

    def forward(self, images: Tensor, numbers: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Change and normalise a batch.

        Args:
            images: `(N, 3, H, W)` on the scale 0 to 255, uint8 or float; not changed.
            numbers: `(N, K)`, each row from `draw`.
            mean: `(3, 1, 1)`.
            std: `(3, 1, 1)`.

        Returns:
            Float images in the memory format of `images`.
        """
        zero, one = torch.zeros_like(mean), torch.ones_like(std)
        current = (zero, one)
        if self.last_colour is None:
            images, current = (images.float() - mean) / std, (mean, std)
        at = 0
        for index, step in enumerate(self.steps):
            if index == self.last_colour:
                current = (mean, std)
            count: int = step.count  # pyright: ignore[reportAssignmentType]
            images = step(images, numbers[:, at : at + count], *current)
            at += count
        return images


class OneImage(nn.Module):
    """A batch transform for a single image, as a step of a pipeline.

    Args:
        transform: The transform.
    """

    def __init__(self, transform: BatchTransform) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, image: Tensor) -> Tensor:
        """Draw numbers and change a float image `(3, H, W)` on the scale 0 to 255."""
        numbers = torch.tensor([self.transform.draw(*image.shape[-2:])], dtype=torch.float32)
        scale = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
        return self.transform(image[None], numbers, *scale)[0]
