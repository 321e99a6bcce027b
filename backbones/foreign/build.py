"""From a prefixed spec to a backbone."""

from __future__ import annotations

import torch

from backbones.backbone import Backbone
from backbones.errors import OutputStrideError, UserError
from backbones.foreign import class_path, timm_models, torchvision_models
from backbones.foreign.wrapper import same_on_common_grid

_LIBRARIES = {
    "timm": timm_models.build,
    "torchvision": torchvision_models.build,
}


def is_foreign(spec: str) -> bool:
    """Whether a spec names a network of another library, or of the user's own."""
    return ":" in spec


def create(spec: str, *, in_channels: int = 3, output_stride: int = 32) -> Backbone:
    """Build a network of another library with fresh weights, by its own initialisation.

    Args:
        spec: ``"timm:NAME"``, with a tag of pretrained weights or without; ``"torchvision:NAME"``; or
            ``"package.module:Class"``, a class or function that is called without arguments.
        in_channels: Channels of the input images.
        output_stride: Input pixels per cell of the last feature map: 32, 16 or 8.

    Returns:
        The network in training mode; its parameters keep their library's names after ``trunk.``.

    Raises:
        UserError: If there is no such network, or it has no feature maps that necks and heads can use.
        OutputStrideError: If it cannot keep to the output stride, or would compute something else there.
    """
    prefix, _, name = spec.partition(":")
    if not name:
        raise UserError(f"backbone {spec!r} names nothing after the colon; write {prefix}:NAME")
    build = _LIBRARIES.get(prefix, class_path.build)
    # Some constructors compute with numbers, which a network of shapes alone has not.
    with torch.device("cpu"):
        network = build(spec, in_channels, output_stride)
        if output_stride == 32:
            return network
        # What is only compared with must not move the generator from which weights are drawn next.
        with torch.random.fork_rng(devices=[]):
            same = in_channels != 3 or same_on_common_grid(network, build(spec, 3, 32))
    if not same:
        raise OutputStrideError(
            f"{spec} cannot be built at output stride {output_stride}: dilated it computes something else than at "
            "stride 32 at the cells that both have"
        )
    return network
