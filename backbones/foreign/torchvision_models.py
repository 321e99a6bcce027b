"""torchvision's networks, through its feature extraction."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import torchvision
from torch import Tensor, nn
from torchvision.models import feature_extraction

from backbones.backbone import Feature
from backbones.foreign.dilation import dilate
from backbones.foreign.wrapper import (
    DUMMY_SIZE,
    STRIDES,
    ForeignBackbone,
    measure,
    require_strides,
    run_dummy,
)
from contract.errors import UserError, unknown


def forms(_spec: str) -> tuple[str, ...]:
    """Return the forms at an output stride below 32."""
    return ("layers",)


def build(
    spec: str, in_channels: int, output_stride: int = 32, _form: str = "layers"
) -> ForeignBackbone:
    """Build `torchvision:NAME`; see `backbones.foreign.build.create`."""
    name = spec.partition(":")[2]
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise unknown("torchvision model", name, known)
    if in_channels != 3:
        raise UserError(f"{spec} takes images of 3 channels, not of {in_channels}")
    return wrap(spec, torchvision.models.get_model(name, weights=None), output_stride)


def wrap(
    spec: str, network: nn.Module, output_stride: int, *, dilated: bool = False
) -> ForeignBackbone:
    """Find the last module at each stride and remove everything after the last map.

    Args:
        spec: The requested spec.
        network: A classifier; its layers are changed if they have to dilate.
        output_stride: Stride of the last map.
        dilated: Whether the network was already built at that output stride; strides then do not separate its stages.

    Raises:
        UserError: The network cannot be traced, or has no map at one of the strides.
    """
    if dilated:
        raise UserError(
            f"{spec} returns one tensor at output stride {output_stride}; let its forward return the list of its maps"
        )
    found = _find_ends(spec, network)
    if output_stride != 32:
        dilate(spec, network, output_stride)
    ends = [end for end, _ in found]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trunk = feature_extraction.create_feature_extractor(
                network, {end: str(number) for number, end in enumerate(ends)}
            )
    except Exception as error:
        raise UserError(
            f"{spec} cannot be traced by torch.fx ({error}); give it the method forward_intermediates of timm, or let "
            "its forward return the list of its feature maps"
        ) from None
    run = functools.partial(_run, [channels_last for _, channels_last in found])
    measured = measure(spec, run, trunk, len(ends))
    require_strides(spec, [stride for _, stride in measured], output_stride)
    features = [
        Feature(end, channels, stride)
        for end, (channels, stride) in zip(ends, measured, strict=True)
    ]
    return ForeignBackbone(
        spec, trunk, run, features, ends=ends, library_names=tuple(network.state_dict())
    )


def _run(channels_last: Sequence[bool], trunk: nn.Module, x: Tensor, maps: int) -> Sequence[Tensor]:
    found = trunk(x)
    ordered = [found[str(number)] for number in range(maps)]
    return [
        values.permute(0, 3, 1, 2) if last else values
        for values, last in zip(ordered, channels_last, strict=False)
    ]


def _find_ends(spec: str, network: nn.Module) -> list[tuple[str, bool]]:
    """Return the module that outputs each map, and whether its channels are last.

    Among the modules whose output has the same stride, the outermost are stages and the inner ones their parts; the
    last of the outermost ends the stage.
    """
    seen: dict[int, list[tuple[str, bool]]] = {}
    hooks = [
        module.register_forward_hook(functools.partial(_note, seen, name))
        for name, module in network.named_modules()
        if name
    ]
    try:
        run_dummy(spec, network, network)
    finally:
        for hook in hooks:
            hook.remove()
    require_strides(spec, [stride for stride in STRIDES if stride in seen], STRIDES[-1])
    ends = []
    for stride in STRIDES:
        outermost = min(name.count(".") for name, _ in seen[stride])
        ends.append([entry for entry in seen[stride] if entry[0].count(".") == outermost][-1])
    return ends


def _note(
    seen: dict[int, list[tuple[str, bool]]],
    name: str,
    _module: nn.Module,
    _inputs: Any,
    output: Any,
) -> None:
    if not isinstance(output, Tensor) or output.ndim != 4:
        return
    for channels_last, sides in ((False, output.shape[2:]), (True, output.shape[1:3])):
        for stride in STRIDES:
            if tuple(sides) == (DUMMY_SIZE[0] // stride, DUMMY_SIZE[1] // stride):
                seen.setdefault(stride, []).append((name, channels_last))
                return
