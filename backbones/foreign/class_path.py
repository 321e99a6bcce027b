"""The user's own network, named by the import path of its class."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from backbones.backbone import Backbone, Feature
from backbones.foreign import torchvision_models
from backbones.foreign.dilation import dilate
from backbones.foreign.wrapper import STRIDES, ForeignBackbone, measure, require_strides, run_dummy
from contract.errors import UserError, unknown


def forms(spec: str) -> tuple[str, ...]:
    """Return the forms at an output stride below 32: by the class itself if possible, else layer by layer."""
    return ("native",) if _takes_stride(_find(spec)) else ("layers",)


def build(spec: str, in_channels: int, output_stride: int = 32, form: str = "native") -> Backbone:
    """Build `package.module:Class`; see `backbones.foreign.build.create`.

    The class or function is called without arguments. Below output stride 32, it gets `output_stride` if it has such
    a parameter; otherwise `dilate` changes its layers. It may return a `Backbone`; a network whose `forward` returns
    a list, tuple or dictionary of maps (the last four, at the strides 4, 8, 16 and 32, or a single one of any
    stride); or a classifier that torch.fx can trace.
    """
    make = _find(spec)
    options = {} if output_stride == 32 or form == "layers" else {"output_stride": output_stride}
    try:
        network = make(**options)
    except TypeError as error:
        raise UserError(
            f"{spec} cannot be built by a call with {options or 'no arguments'} ({error}); give each argument a "
            "default"
        ) from None
    if not isinstance(network, nn.Module):
        raise UserError(f"{spec} makes a {type(network).__name__}; expected a torch.nn.Module")
    if isinstance(network, Backbone):
        if output_stride != 32 and not network.plain:
            strides = [feature.stride for feature in network.feature_info]
            require_strides(spec, strides[-len(STRIDES) :], output_stride)
        return network
    if in_channels != 3:
        raise UserError(f"{spec} takes images of 3 channels, not of {in_channels}")
    dilated = bool(options)
    if isinstance(run_dummy(spec, network, network), Tensor):
        return torchvision_models.wrap(spec, network, output_stride, dilated=dilated)
    return _wrap(spec, network, output_stride, dilated=dilated)


def _takes_stride(make: Any) -> bool:
    try:
        return "output_stride" in inspect.signature(make).parameters
    except (TypeError, ValueError):
        return False


def _find(spec: str) -> Any:
    path, _, name = spec.partition(":")
    try:
        module = importlib.import_module(path)
    except ImportError as error:
        raise UserError(
            f"backbone {spec!r}: there is no library {path!r} of backbones, and no such module can be imported "
            f"({error}); write timm:NAME or torchvision:NAME, or for your own class package.module:Class, with its "
            "folder in PYTHONPATH"
        ) from None
    if not hasattr(module, name):
        raise unknown(f"name in {path}", name, [n for n in dir(module) if not n.startswith("_")])
    return getattr(module, name)


def _wrap(spec: str, network: nn.Module, output_stride: int, *, dilated: bool) -> ForeignBackbone:
    """Wrap a network with its last four maps, which must have the required strides, or its single map."""
    everything = measure(spec, _maps, network, -1)
    if len(everything) == 1:
        return ForeignBackbone(spec, network, _last_maps, [Feature("map1", *everything[0])])
    if output_stride != 32 and not dilated:
        dilate(spec, network, output_stride)
        everything = measure(spec, _maps, network, -1)
    chosen = everything[-len(STRIDES) :]
    require_strides(spec, [stride for _, stride in chosen], output_stride)
    features = [
        Feature(f"map{number}", channels, stride)
        for number, (channels, stride) in enumerate(chosen, start=1)
    ]
    return ForeignBackbone(spec, network, _last_maps, features, ends=_find_ends(spec, network))


def _find_ends(spec: str, network: nn.Module) -> Sequence[str]:
    """Return the outermost module that outputs each of the last four maps; empty if there is none for a map."""
    outputs: list[tuple[str, Any]] = []
    hooks = [
        module.register_forward_hook(
            lambda _m, _i, output, name=name: outputs.append((name, output))
        )
        for name, module in network.named_modules()
        if name
    ]
    try:
        found = run_dummy(spec, lambda x: _maps(network, x, -1), network)
    finally:
        for hook in hooks:
            hook.remove()
    ends = []
    for values in found[-len(STRIDES) :]:
        names = [name for name, output in outputs if output is values]
        if not names:
            return ()
        ends.append(min(names, key=lambda name: name.count(".")))
    return ends


def _maps(network: nn.Module, x: Tensor, _count: int) -> Sequence[Tensor]:
    found = network(x)
    return list(found.values()) if isinstance(found, dict) else list(found)


def _last_maps(network: nn.Module, x: Tensor, maps: int) -> Sequence[Tensor]:
    return _maps(network, x, maps)[-len(STRIDES) :][:maps]
