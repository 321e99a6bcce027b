"""timm's networks, through `forward_intermediates`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import Tensor

from backbones.backbone import Feature, OutputStrideError
from backbones.foreign.dilation import dilate
from backbones.foreign.wrapper import (
    DUMMY_SIZE,
    ForeignBackbone,
    Run,
    choose,
    measure,
    require_strides,
)
from contract.errors import UserError, unknown

# Options for transformers with images of any size; they differ between families, and other networks need none. If
# windows are a fixed fraction of the published image, as in MaxViT, images are padded to a multiple of its size.
_ANY_SIZE: tuple[dict[str, Any], ...] = (
    {},
    dict(strict_img_size=False),
    dict(dynamic_img_size=True),
    {},
)
_PADDED = len(_ANY_SIZE) - 1


def forms(_spec: str) -> tuple[str, ...]:
    """Return the forms at an output stride below 32, the preferred one first."""
    return ("native", "layers")


def build(
    spec: str, in_channels: int, output_stride: int = 32, form: str = "native"
) -> ForeignBackbone:
    """Build `timm:NAME`; see `backbones.foreign.build.create`.

    Args:
        spec: The requested spec.
        in_channels: Channels of the images.
        output_stride: 32, 16 or 8.
        form: Below stride 32, timm's own dilated form (`"native"`) or that of `dilate` (`"layers"`).

    Raises:
        UserError: The network is unknown or cannot be a backbone.
        OutputStrideError: The network cannot be built in this form.
    """
    name = spec.partition(":")[2]
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        raise unknown("timm model", architecture, timm.list_models())
    if output_stride == 32:
        return _build_any(spec, name, in_channels)
    option = "output_stride" if form == "native" else "dilated_to"
    try:
        return _build_any(spec, name, in_channels, **{option: output_stride})
    except OutputStrideError:
        raise
    except (UserError, NotImplementedError) as error:
        raise OutputStrideError(
            f"{spec} cannot be built at output stride {output_stride}: {error}"
        ) from None


# The working index in `_ANY_SIZE`, by name and options, to avoid building the others again.
_WAYS: dict[tuple[Any, ...], int] = {}


def _build_any(
    spec: str, name: str, in_channels: int, dilated_to: int = 32, **options: Any
) -> ForeignBackbone:
    """Build a network for images of any size, with the first options in `_ANY_SIZE` that work."""
    problem: UserError | None = None
    known = (name, in_channels, dilated_to, *options.items())
    state = torch.get_rng_state()
    for way, any_size in enumerate(_ANY_SIZE):
        if _WAYS.get(known, way) != way:
            continue
        # A failed attempt must not change the random weights.
        torch.set_rng_state(state)
        try:
            network = timm.create_model(
                name, pretrained=False, in_chans=in_channels, num_classes=0, **any_size, **options
            )
        except TypeError:
            # The constructor has no such option.
            continue
        except (RuntimeError, ValueError, AssertionError) as error:
            raise UserError(f"{spec} cannot be built: {error}") from None
        if not (hasattr(network, "forward_intermediates") and hasattr(network, "feature_info")):
            raise UserError(f"{spec} offers no feature maps (timm's forward_intermediates)")
        try:
            stride = options.get("output_stride", dilated_to)
            multiple = _input_size(network) if way == _PADDED else None
            wrapped = _wrap(spec, network, in_channels, stride, dilated_to, multiple)
        except OutputStrideError:
            raise
        except UserError as error:
            problem = problem or error
        else:
            _WAYS[known] = way
            return wrapped
    raise problem or UserError(f"{spec} cannot be built with {', '.join(options) or 'in_chans'}")


def _input_size(network: Any) -> int:
    """Return height and width of the images in timm's config of the network."""
    return network.pretrained_cfg.get("input_size", (3, 224, 224))[-1]


def _wrap(
    spec: str,
    network: Any,
    in_channels: int,
    output_stride: int,
    dilated_to: int,
    image_multiple: int | None,
) -> ForeignBackbone:
    infos = list(network.feature_info)
    declared = [int(info["reduction"]) for info in infos]
    if len(set(declared)) == 1:
        return _wrap_plain(spec, network, in_channels)
    # A dilated network has several maps of the same stride; their order decides.
    built_dilated = output_stride != dilated_to
    indices = list(range(len(declared)))[-4:] if built_dilated else choose(spec, declared)
    run = functools.partial(_run, indices)
    library_names = tuple(network.state_dict())
    network.prune_intermediate_layers(indices, prune_norm=True, prune_head=True)
    if dilated_to != 32:
        dilate(spec, network, dilated_to, functools.partial(run, network, maps=len(indices)))
    size = (image_multiple, 2 * image_multiple) if image_multiple else DUMMY_SIZE
    measured = measure(spec, run, network, len(indices), in_channels=in_channels, size=size)
    require_strides(spec, [stride for _, stride in measured], output_stride)
    features = [
        Feature(str(infos[index]["module"]), channels, stride)
        for index, (channels, stride) in zip(indices, measured, strict=True)
    ]
    ends = [feature.name for feature in features]
    return _finish(spec, network, run, features, ends, library_names, image_multiple)


def _wrap_plain(spec: str, network: Any, in_channels: int) -> ForeignBackbone:
    """Wrap a plain network with the map after the last block, and after the final norm if it precedes pooling."""
    infos = list(network.feature_info)
    stride = int(infos[-1]["reduction"])
    run = functools.partial(_run, [len(infos) - 1], norm=True)
    library_names = tuple(network.state_dict())
    network.prune_intermediate_layers([len(infos) - 1], prune_norm=False, prune_head=True)
    size = (8 * stride, 12 * stride)
    (measured,) = measure(spec, run, network, 1, in_channels=in_channels, size=size)
    blocks = [str(info["module"]) for info in infos]
    return _finish(spec, network, run, [Feature(blocks[-1], *measured)], blocks, library_names)


def _finish(
    spec: str,
    network: Any,
    run: Run,
    features: list[Feature],
    ends: list[str],
    library_names: tuple[str, ...],
    image_multiple: int | None = None,
) -> ForeignBackbone:
    names = {name for name, _ in network.named_modules()}
    return ForeignBackbone(
        spec,
        network,
        run,
        features,
        ends=ends if names.issuperset(ends) else (),
        input_size=_input_size(network),
        image_multiple=image_multiple,
        library_names=library_names,
    )


def _run(
    indices: list[int], network: Any, x: Tensor, maps: int = 4, *, norm: bool = False
) -> Sequence[Tensor]:
    return network.forward_intermediates(
        x,
        indices=indices[:maps],
        norm=norm,
        stop_early=True,
        output_fmt="NCHW",
        intermediates_only=True,
    )
