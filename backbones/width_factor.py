"""The width factor: one number that makes every layer of a network thinner or wider."""

from __future__ import annotations

_FEWEST_CHANNELS = 8


def scaled(channels: int, width_factor: float) -> int:
    """Count the channels of a layer: ⌊α · channels⌋, at least 8.

    Source: MobileNets §3.3, https://arxiv.org/abs/1704.04861; rounding and the least number as in
    the authors' code, https://github.com/tensorflow/models/blob/master/research/slim/nets/mobilenet_v1.py.

    Args:
        channels: Channels at the factor 1.
        width_factor: α.

    Returns:
        The channels to build.
    """
    return max(int(channels * width_factor), _FEWEST_CHANNELS)
