"""Tricks that mix the images and labels of a batch.

Each module takes normalised images `(N, C, H, W)` and smoothed target distributions `(N, K)`, and returns both mixed.
The order of smoothing and mixing does not matter, because both are linear in the labels.
"""

from __future__ import annotations

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torchvision.transforms import v2

from contract.errors import UserError


@MODELS.register_module()
class Mixup(nn.Module):
    """Convex combinations of a batch with its permutation (Zhang et al., 1710.09412; paper §5.4).

    Args:
        alpha: Parameter of the Beta(α, α) distribution of the weight λ, above 0.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.beta = _beta("mixup alpha", alpha, 0.2)

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mix images `(N, C, H, W)` and target distributions `(N, K)` with one λ for the batch."""
        weight = self.beta.sample().item()
        partner = _partners(images)
        return (
            weight * images + (1 - weight) * images[partner],
            weight * targets + (1 - weight) * targets[partner],
        )


@MODELS.register_module()
class CutMix(nn.Module):
    """Paste a box of one image into another, by torchvision (Yun et al., 1905.04899).

    torchvision draws one box for the batch and pairs each image with its neighbour; labels are weighted by the pasted
    area.

    Args:
        alpha: Parameter of the Beta(α, α) distribution of λ, above 0; the box has 1 − λ of the area.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        _beta("cutmix alpha", alpha, 1.0)
        self.transform = v2.CutMix(alpha=alpha)

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Paste into images `(N, C, H, W)` and mix target distributions `(N, K)` by area."""
        images, targets = self.transform(images, targets)
        return images, targets


@MODELS.register_module()
class RICAP(nn.Module):
    """Join random crops of four images around a point (Takahashi et al., 1811.09030).

    The point is (w, h) = (⌊W u⌉, ⌊H v⌉) with u, v ~ Beta(β, β), drawn once for the batch; the four labels are
    weighted by the areas of their quadrants.

    Args:
        beta: Parameter of the Beta(β, β) distribution, above 0.
    """

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = _beta("ricap beta", beta, 0.3)

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Join images `(N, C, H, W)` and mix target distributions `(N, K)` by area."""
        height, width = images.shape[-2:]
        x, y = round(width * self.beta.sample().item()), round(height * self.beta.sample().item())
        patched, mixed = torch.empty_like(images), torch.zeros_like(targets)
        for rows in (slice(0, y), slice(y, height)):
            for columns in (slice(0, x), slice(x, width)):
                h, w = rows.stop - rows.start, columns.stop - columns.start
                partner = _partners(images)
                top = int(torch.randint(height - h + 1, ()))
                left = int(torch.randint(width - w + 1, ()))
                patched[..., rows, columns] = images[partner, :, top : top + h, left : left + w]
                mixed += targets[partner] * (h * w / (height * width))
        return patched, mixed


def _partners(images: Tensor) -> Tensor:
    """Draw a permutation of a batch on the CPU, so that all devices mix alike."""
    return torch.randperm(len(images)).to(images.device, non_blocking=True)


def _beta(name: str, value: float, usual: float) -> torch.distributions.Beta:
    if not value > 0:
        raise UserError(f"{name}={value} was given; it must be above 0 (the paper: {usual})")
    return torch.distributions.Beta(value, value)
