"""Build the backbone of a prefixed spec."""

from __future__ import annotations

import functools
from typing import Any

import torch

from backbones.backbone import Backbone, OutputStrideError
from backbones.foreign import class_path, timm_models, torchvision_models
from backbones.foreign.wrapper import same_on_common_grid
from contract.errors import UserError

_LIBRARIES = {"timm": timm_models, "torchvision": torchvision_models}


def is_foreign(spec: str) -> bool:
    """Return whether a spec names a network of another library or the user's own."""
    return ":" in spec


def create(spec: str, *, in_channels: int = 3, output_stride: int = 32) -> Backbone:
    """Build a network of another library with random weights, initialised by the library.

    Args:
        spec: `"timm:NAME"`, with or without a tag of pretrained weights; `"torchvision:NAME"`; or
            `"package.module:Class"`, a class or function that is called without arguments.
        in_channels: Channels of the input images.
        output_stride: Input pixels per location of the last feature map: 32, 16 or 8. Plain networks ignore it.

    Returns:
        The network in training mode; its parameters keep their library's names after `trunk.`.

    Raises:
        UserError: There is no such network, or it has no feature maps that necks and heads can use.
        OutputStrideError: The network cannot be built at the output stride, or would compute different features there.
    """
    prefix, _, name = spec.partition(":")
    if not name:
        raise UserError(f"backbone {spec!r} names nothing after the colon; write {prefix}:NAME")
    # Some constructors compute with values, which do not exist on the device "meta".
    with torch.device("cpu"):
        if output_stride == 32:
            return _library(spec).build(spec, in_channels)
        form = dilated_form(spec, output_stride)
        if form is None:
            return _library(spec).build(spec, in_channels)
        return _library(spec).build(spec, in_channels, output_stride, form)


def dilated_form(spec: str, output_stride: int) -> str | None:
    """Return how a network can be built at an output stride.

    Args:
        spec: As for `create`.
        output_stride: 16 or 8.

    Returns:
        `"native"`, by its library; `"layers"`, by `backbones.foreign.dilation`; None for a plain network, which does
        not depend on the output stride.

    Raises:
        UserError: See `create`.
        OutputStrideError: It cannot be built at the output stride.
    """
    found = _find_form(spec, output_stride)
    if isinstance(found, OutputStrideError):
        raise found
    return found


@functools.cache
def _find_form(spec: str, output_stride: int) -> str | OutputStrideError | None:
    """Return the first of the library's forms that computes the same at the output stride as at 32.

    Some do not: if two stages dilate, timm's ConvNeXt (1.0.31) shifts the merged patches by a location.
    """
    library = _library(spec)
    problem = None
    # A fixed seed makes the answer reproducible; the caller's random state is restored.
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = library.build(spec, 3)
        if whole.plain:
            return None
        for form in library.forms(spec):
            try:
                dilated = library.build(spec, 3, output_stride, form)
            except OutputStrideError as error:
                problem = error
                continue
            if same_on_common_grid(dilated, whole):
                return form
            problem = OutputStrideError(
                f"{spec} cannot be built at output stride {output_stride}: dilated, it computes something else than at "
                "stride 32 at the locations that both have"
            )
    return problem


def _library(spec: str) -> Any:
    return _LIBRARIES.get(spec.partition(":")[0], class_path)
