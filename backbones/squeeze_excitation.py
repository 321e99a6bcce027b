"""The squeeze-and-excitation module.

Hu et al., "Squeeze-and-Excitation Networks", §3, https://arxiv.org/abs/1709.01507.
"""

from __future__ import annotations

from torch import Tensor, nn

_REDUCTION = 16
_FEWEST_HIDDEN = 8


class SqueezeExcitation(nn.Module):
    """Weigh each channel by a gate that sees the whole map.

    s = σ(W₂ · relu(W₁ · z)), z_c the mean of channel c; the output is s_c · x_c. W₁ leaves one
    channel of 16, the paper's reduction ratio, and at least 8: only the first stage of networks
    without bottlenecks, and narrowed ones, have fewer. Both are 1×1 convolutions with biases,
    named as in timm, so that public checkpoints load.

    Args:
        channels: Channels of the map.
    """

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(channels // _REDUCTION, _FEWEST_HIDDEN)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels: (N, C, H, W) to the same shape."""
        means = x.mean((2, 3), keepdim=True)
        return x * self.fc2(self.relu(self.fc1(means))).sigmoid()
