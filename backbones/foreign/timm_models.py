"""timm's networks, by their own `forward_intermediates`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import Tensor

from backbones.backbone import Feature
from backbones.errors import OutputStrideError, UserError, unknown
from backbones.foreign.dilation import dilate
from backbones.foreign.wrapper import (
    ForeignBackbone,
    choose,
    measure,
    require_strides,
    same_on_common_grid,
)

# What makes a transformer take images of any size, by family; a network that knows none of them ignores the question.
_ANY_SIZE: tuple[dict[str, Any], ...] = (
    {},
    dict(strict_img_size=False),
    dict(dynamic_img_size=True),
)


def build(spec: str, in_channels: int, output_stride: int) -> ForeignBackbone:
    """Build `timm:NAME`; see `backbones.foreign.build.create`.

    Below output stride 32 timm's own dilated form is taken where it computes the same on the common grid, else the
    network is dilated by `dilate`.
    """
    name = spec.partition(":")[2]
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        raise unknown("timm model", architecture, timm.list_models())
    if output_stride == 32:
        return _build_any(spec, name, in_channels)
    if _dilates_right(spec, name, output_stride):
        return _build_any(spec, name, in_channels, output_stride=output_stride)
    with torch.random.fork_rng(devices=[]):
        _build_any(spec, name, in_channels)
    try:
        return _build_any(spec, name, in_channels, dilated_to=output_stride)
    except OutputStrideError:
        raise
    except UserError as error:
        # What it can compute at stride 32 it cannot dilated.
        raise OutputStrideError(
            f"{spec} cannot be built at output stride {output_stride}: {error}"
        ) from None


def _build_any(
    spec: str, name: str, in_channels: int, dilated_to: int = 32, **options: Any
) -> ForeignBackbone:
    """Build a network that takes images of any size, by the first of the ways that works."""
    problem: UserError | None = None
    for any_size in _ANY_SIZE:
        try:
            network = timm.create_model(
                name, pretrained=False, in_chans=in_channels, num_classes=0, **any_size, **options
            )
        except TypeError:
            # The constructor knows no such option.
            continue
        except (RuntimeError, ValueError, AssertionError) as error:
            raise UserError(f"{spec} cannot be built: {error}") from None
        if not (hasattr(network, "forward_intermediates") and hasattr(network, "feature_info")):
            raise UserError(f"{spec} offers no feature maps (timm's forward_intermediates)")
        try:
            return _wrap(
                spec, network, in_channels, options.get("output_stride", dilated_to), dilated_to
            )
        except OutputStrideError:
            raise
        except UserError as error:
            problem = problem or error
    raise problem or UserError(f"{spec} cannot be built with in_chans and num_classes")


@functools.cache
def _dilates_right(spec: str, name: str, output_stride: int) -> bool:
    """Whether timm's dilated form computes on the common grid what the network computes at stride 32.

    Not all do: the patches that ConvNeXt merges are shifted by a cell where two stages dilate (timm 1.0.31). Gates of
    squeeze-and-excitation see other cells in between, which is worth less than a thousandth in a fresh network.
    """
    # Its own networks must not move the generator from which the one to be trained is drawn.
    with torch.random.fork_rng(devices=[]):
        try:
            dilated = _build_any(spec, name, 3, output_stride=output_stride)
        except (UserError, NotImplementedError, AssertionError, ValueError):
            return False
        return same_on_common_grid(dilated, _build_any(spec, name, 3))


def _wrap(
    spec: str, network: Any, in_channels: int, output_stride: int, dilated_to: int
) -> ForeignBackbone:
    infos = list(network.feature_info)
    declared = [int(info["reduction"]) for info in infos]
    # Built dilated, several maps have the same stride, and the order decides.
    built_dilated = output_stride != dilated_to
    indices = list(range(len(declared)))[-4:] if built_dilated else choose(spec, declared)
    run = functools.partial(_run, indices)
    library_names = tuple(network.state_dict())
    network.prune_intermediate_layers(indices, prune_norm=True, prune_head=True)
    if dilated_to != 32:
        dilate(spec, network, dilated_to, functools.partial(run, network, maps=len(indices)))
    measured = measure(spec, run, network, len(indices), in_channels=in_channels)
    require_strides(spec, [stride for _, stride in measured], output_stride)
    features = [
        Feature(str(infos[index]["module"]), channels, stride)
        for index, (channels, stride) in zip(indices, measured, strict=True)
    ]
    size = network.pretrained_cfg.get("input_size", (3, 224, 224))[-1]
    names = {name for name, _ in network.named_modules()}
    ends = [feature.name for feature in features]
    return ForeignBackbone(
        spec,
        network,
        run,
        features,
        ends=ends if names.issuperset(ends) else (),
        input_size=size,
        library_names=library_names,
    )


def _run(indices: list[int], network: Any, x: Tensor, maps: int = 4) -> Sequence[Tensor]:
    return network.forward_intermediates(
        x, indices=indices[:maps], stop_early=True, output_fmt="NCHW", intermediates_only=True
    )
