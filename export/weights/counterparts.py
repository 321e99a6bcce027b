"""The equivalent of a backbone in another library, and the library's tensor names.

Our names come from timm 1.0.9 and torchvision 0.26. OpenMMLab's names come from its source code:
mmdet/models/backbones/resnet.py and layers/res_layer.py (3.3), whose deep stem is a sequence of single layers and
whose D shortcut always starts with a pool; mmpretrain/models/backbones/resnet.py (1.2), whose deep stem is three
modules of a convolution and a normalisation, and whose D shortcut has a pool only if it has a stride.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import timm

from backbones.foreign import is_foreign
from backbones.nets.inception import InceptionConfig
from backbones.nets.mobilenet import MobileNetConfig
from backbones.nets.resnet import ResNetConfig
from backbones.zoo import Config, parse
from contract.errors import UserError

_STEM_WIDTH = ResNetConfig.width
# The depths of OpenMMLab's and torchvision's ResNets.
_DEPTHS = {
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
}


@dataclass(frozen=True)
class Counterpart:
    """A network of another library that is equivalent to one of our backbones.

    Attributes:
        library: The library.
        model: The network's name in the library, or its class.
        options: Further arguments of its constructor.
        rename: Maps our tensor names, without the classifier, to the library's.
        head: The library's name of the classifier's linear layer; empty if it has none, None if the built model
            decides.
    """

    library: str
    model: str
    options: dict[str, Any] = field(default_factory=dict)
    rename: Callable[[str], str] = str
    head: str | None = "fc"

    def call(self, **more: Any) -> str:
        """Return a line of Python that builds it."""
        arguments = ", ".join(f"{k}={v!r}" for k, v in {**self.options, **more}.items())
        start = {
            "timm": f"timm.create_model({self.model!r}",
            "torchvision": f"torchvision.models.{self.model}(",
        }.get(self.library, f"{self.library}.models.backbones.{self.model}(")
        if self.library == "timm" and arguments:
            start += ", "
        return f"{start}{arguments})"


def find(spec: str, library: str) -> Counterpart:
    """Return the counterpart of a backbone.

    Args:
        spec: The backbone of a checkpoint.
        library: One of `LIBRARIES`.

    Raises:
        UserError: The library has none; the message names the libraries that have one.
    """
    found = _FINDERS[library](spec)
    if isinstance(found, Counterpart):
        return found
    others = [other for other, finder in _FINDERS.items() if isinstance(finder(spec), Counterpart)]
    where = f"{' or '.join(others)} has: --to {others[0]}" if others else "no other program does"
    raise UserError(f"{library} has no {spec}: {found}; {where}")


def _foreign(spec: str, library: str) -> Counterpart | str:
    """Return the network of the same library: only the prefix of the trunk is removed."""
    prefix, _, name = spec.partition(":")
    if prefix != library:
        return f"it is a network of {prefix if prefix in _FINDERS else 'your own'}"
    model = name.partition(".")[0] if library == "timm" else name
    return Counterpart(library, model, rename=lambda key: key.removeprefix("trunk."), head=None)


def _timm(spec: str) -> Counterpart | str:
    if is_foreign(spec):
        return _foreign(spec, "timm")
    config = parse(spec)
    if isinstance(config, ResNetConfig):
        return _timm_resnet(config)
    if isinstance(config, MobileNetConfig):
        if config.width_factor != 1:
            return "it has that network at width 1 alone"
        return Counterpart("timm", "mobilenetv1_100", head="classifier")
    return _inception(config, "timm")


def _timm_resnet(config: ResNetConfig) -> Counterpart | str:
    if problem := _unlike_others(config):
        return problem
    if config.width != _STEM_WIDTH and not config.deep_stem:
        return f"the stem of its ResNets without tweak C has {_STEM_WIDTH} channels"
    depth = sum(config.blocks) * (3 if config.bottleneck else 2) + 2
    tweak = "" if not config.deep_stem else "d" if config.average_shortcut else "c"
    prefix = "seresnet" if config.squeeze_excitation else "resnet"
    if config.width == _STEM_WIDTH and timm.is_model(f"{prefix}{depth}{tweak}"):
        return Counterpart("timm", f"{prefix}{depth}{tweak}")
    # All others are one of these two with different arguments.
    model = f"resnet{50 if config.bottleneck else 18}{'d' if tweak else ''}"
    options: dict[str, Any] = {"layers": config.blocks}
    if tweak == "c":
        options["avg_down"] = False
    if config.width != _STEM_WIDTH:
        options["channels"] = tuple(config.width * 2**stage for stage in range(4))
        options["stem_width"] = config.width // 2
    if config.squeeze_excitation:
        options["block_args"] = {"attn_layer": "se"}
    return Counterpart("timm", model, options)


def _torchvision(spec: str) -> Counterpart | str:
    if is_foreign(spec):
        return _foreign(spec, "torchvision")
    config = parse(spec)
    if isinstance(config, MobileNetConfig):
        return "it starts with MobileNet-V2"
    if isinstance(config, InceptionConfig):
        return _inception(config, "torchvision")
    if problem := _unlike_others(config):
        return problem
    if config.deep_stem or config.squeeze_excitation or config.width != _STEM_WIDTH:
        return "its ResNets have neither the tweaks C and D, nor SE modules, nor other widths"
    depth = _depth(config)
    if depth is None:
        return "its ResNets have 18, 34, 50, 101 or 152 layers"
    return Counterpart("torchvision", f"resnet{depth}")


def _inception(config: Config, library: str) -> Counterpart | str:
    assert isinstance(config, InceptionConfig)
    if not config.valid_padding:
        return "its Inception-V3 has the paper's padding, as inception_v3-valid has"
    if config.width_factor != 1:
        return "it has that network at width 1 alone"
    options = {"torchvision": {"aux_logits": False, "init_weights": False}}
    return Counterpart(library, "inception_v3", options.get(library, {}))


def _mmpretrain(spec: str) -> Counterpart | str:
    config = None if is_foreign(spec) else parse(spec)
    if not isinstance(config, ResNetConfig):
        return "only ResNets are known under its names"
    depth = _depth(config)
    if config.deformation is not None or depth is None:
        return "its ResNets have 18, 34, 50, 101 or 152 layers and no deformable convolutions"
    options = _openmmlab_options(config, depth)
    model = {(False, False): "ResNet", (True, False): "ResNetV1c", (True, True): "ResNetV1d"}
    name = model[config.deep_stem, config.average_shortcut]
    if config.squeeze_excitation:
        if not config.bottleneck or config.width % 32:
            return "its SE-ResNets have 50, 101 or 152 layers and widths that are multiples of 32"
        if config.deep_stem:
            options |= {"deep_stem": True, "avg_down": config.average_shortcut}
        name = "SEResNet"
    return Counterpart("mmpretrain", name, options, partial(_mmpretrain_name, config), "head.fc")


def _mmdet(spec: str) -> Counterpart | str:
    config = None if is_foreign(spec) else parse(spec)
    if not isinstance(config, ResNetConfig):
        return "only ResNets are known under its names"
    depth = _depth(config)
    if config.deformation is not None or config.squeeze_excitation or depth is None:
        return (
            "its ResNets have 18, 34, 50, 101 or 152 layers, no SE modules and, under these names, no deformable "
            "convolutions"
        )
    options = _openmmlab_options(config, depth)
    if config.deep_stem and not config.average_shortcut:
        options["deep_stem"] = True
    name = "ResNetV1d" if config.average_shortcut else "ResNet"
    return Counterpart("mmdet", name, options, partial(_mmdet_name, config), head="")


def _openmmlab_options(config: ResNetConfig, depth: int) -> dict[str, Any]:
    options: dict[str, Any] = {"depth": depth}
    if config.width != _STEM_WIDTH:
        options |= {"stem_channels": config.width, "base_channels": config.width}
    if config.bottleneck and not config.stride_in_3x3:
        options["style"] = "caffe"
    return options


def _mmdet_name(config: ResNetConfig, name: str) -> str:
    if config.deep_stem:
        return re.sub(
            r"^(conv1\.(?=\d)|bn1)", lambda m: "stem.7" if m[0] == "bn1" else "stem.", name
        )
    return name


def _mmpretrain_name(config: ResNetConfig, name: str) -> str:
    if config.deep_stem:
        name = re.sub(r"^bn1", "conv1.7", name)
        name = re.sub(r"^conv1\.(\d)", _stem_module, name)
    if config.average_shortcut:
        # Its first stage has no stride and therefore no pool.
        name = re.sub(r"^(layer1\.0\.downsample)\.(\d)", lambda m: f"{m[1]}.{int(m[2]) - 1}", name)
    return "backbone." + re.sub(r"\.se\.fc(\d)\.", r".se_layer.conv\1.conv.", name)


def _stem_module(match: re.Match[str]) -> str:
    """Return the stem's name: our layer 3k is the convolution of module k, and layer 3k + 1 its normalisation."""
    module, layer = divmod(int(match[1]), 3)
    return f"stem.{module}.{('conv', 'bn')[layer]}"


def _depth(config: ResNetConfig) -> int | None:
    """Return the depth of these blocks in OpenMMLab and torchvision; None if they do not have it."""
    return _DEPTHS.get((config.bottleneck, config.blocks))


def _unlike_others(config: ResNetConfig) -> str:
    """Return why no ResNet of timm and torchvision is equivalent; empty if one may be."""
    if config.deformation is not None:
        return "its ResNets have no deformable convolutions"
    if config.bottleneck and not config.stride_in_3x3:
        return "its bottlenecks stride in the 3×3 convolution, this one's in the first 1×1"
    return ""


_FINDERS: dict[str, Callable[[str], Counterpart | str]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "mmpretrain": _mmpretrain,
    "mmdet": _mmdet,
}
LIBRARIES = tuple(_FINDERS)
