"""Normalisation inside the graph, so users of the file need no mean and standard deviation."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn


class Normalise(nn.Module):
    """Convert RGB images, uint8 or float32 on the scale 0 to 255, to the network's input.

    Args:
        mean: `(3, 1, 1)`, in the network's channel order.
        std: `(3, 1, 1)`, in the same order.
        order: The network's channel order.
    """

    def __init__(self, mean: Tensor, std: Tensor, order: Literal["RGB", "BGR"]) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())
        self.order = order

    def forward(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` to the same shape, float32, in the network's order of channels."""
        ordered = images.float() if self.order == "RGB" else images.float().flip(1)
        return (ordered - self.mean) / self.std

    def metadata(self) -> dict[str, Any]:
        """Return mean and standard deviation of R, G and B on the scale 0 to 255, and the network's channel order."""
        mean, std = self.mean.flatten().tolist(), self.std.flatten().tolist()
        step = 1 if self.order == "RGB" else -1
        return {
            # float32 has about six significant digits.
            "mean_rgb": [float(f"{value:.6g}") for value in mean[::step]],
            "std_rgb": [float(f"{value:.6g}") for value in std[::step]],
            "network_channel_order": self.order,
        }
