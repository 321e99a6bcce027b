"""The names of the backbones, and the network that each name builds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from backbones import foreign
from backbones.backbone import OUTPUT_STRIDES, Backbone
from backbones.initialisation import initialise
from backbones.nets.inception import Inception, InceptionConfig
from backbones.nets.layers import Deformation
from backbones.nets.mobilenet import MobileNet, MobileNetConfig
from backbones.nets.resnet import ResNet, ResNetConfig
from contract.errors import UserError, unknown

Config = ResNetConfig | InceptionConfig | MobileNetConfig

# The network class of each family, by the type of its config.
_NETWORKS: dict[type[Config], Callable[..., Backbone]] = {
    ResNetConfig: ResNet,
    InceptionConfig: Inception,
    MobileNetConfig: MobileNet,
}

# 10, 14 and 26 are not from a paper; they are small networks with the same blocks, numbered as in timm.
_DEPTHS = {
    10: ResNetConfig(blocks=(1, 1, 1, 1), bottleneck=False),
    14: ResNetConfig(blocks=(1, 1, 1, 1), bottleneck=True),
    18: ResNetConfig(blocks=(2, 2, 2, 2), bottleneck=False),
    26: ResNetConfig(blocks=(2, 2, 2, 2), bottleneck=True),
    34: ResNetConfig(blocks=(3, 4, 6, 3), bottleneck=False),
    50: ResNetConfig(blocks=(3, 4, 6, 3), bottleneck=True),
    101: ResNetConfig(blocks=(3, 4, 23, 3), bottleneck=True),
    152: ResNetConfig(blocks=(3, 8, 36, 3), bottleneck=True),
}
_TWEAKS = {
    "": {},
    "_b": {"stride_in_3x3": True},
    "_c": {"stride_in_3x3": True, "deep_stem": True},
    "_d": {"stride_in_3x3": True, "deep_stem": True, "average_shortcut": True},
}
_ROWS: dict[str, Config] = {
    f"resnet{depth}{tweak}": replace(config, **fields)
    for depth, config in _DEPTHS.items()
    for tweak, fields in _TWEAKS.items()
} | {
    "inception_v3": InceptionConfig(),
    "mobilenet_v1": MobileNetConfig(),
}


@dataclass(frozen=True)
class Suffix:
    """A modifier that may follow a base name after a hyphen.

    Attributes:
        form: How it is written, for help and errors, as in `"-wN"`.
        meaning: Its effect, for help and errors.
        pattern: What the text after the hyphen must match in full.
        families: The config types that it applies to.
        field: The config field that it sets. A spec may set a field once.
        value: Reads the field's value from the match; raises UserError if it is out of range.
    """

    form: str
    meaning: str
    pattern: re.Pattern[str]
    families: tuple[type[Config], ...]
    field: str
    value: Callable[[re.Match[str]], object]

    @property
    def help(self) -> str:
        """Its meaning and its families."""
        return f"{self.meaning} ({_listed(self.families)})"


def _listed(families: Iterable[type[Config]]) -> str:
    return ", ".join(_NETWORKS[family].__name__ for family in families)


_WIDTHS = range(8, 513, 8)
_WIDTH_FACTORS = (0.1, 4.0)


def _width(match: re.Match[str]) -> int:
    width = int(match[1])
    if width not in _WIDTHS:
        raise UserError(
            f"width suffix '-w{width}' is out of range; "
            f"expected a multiple of {_WIDTHS.step} from {_WIDTHS[0]} to {_WIDTHS[-1]}"
        )
    return width


def _width_factor(match: re.Match[str]) -> float:
    factor = float(match[1])
    least, most = _WIDTH_FACTORS
    if not least <= factor <= most:
        raise UserError(
            f"width suffix '-x{match[1]}' is out of range; "
            f"expected a factor from {least:g} to {most:g}"
        )
    return factor


def _deformation(match: re.Match[str], *, modulated: bool) -> Deformation:
    if match[1] is None:
        return Deformation(modulated)
    # Digits of the four stages, each at most once and in order.
    if not re.fullmatch("(?!$)1?2?3?4?", match[1]):
        raise UserError(
            f"suffix '-{match[0]}' has the stages {match[1]!r}; expected one or more of 1, 2, 3 "
            f"and 4, in this order, as in -{match[0].partition('@')[0]}@34"
        )
    return Deformation(modulated, tuple(int(digit) for digit in match[1]))


SUFFIXES = (
    Suffix(
        form="-wN",
        meaning=f"base width N instead of {ResNetConfig.width}; "
        f"a multiple of {_WIDTHS.step} from {_WIDTHS[0]} to {_WIDTHS[-1]}",
        pattern=re.compile(r"w(\d+)"),
        families=(ResNetConfig,),
        field="width",
        value=_width,
    ),
    Suffix(
        form="-se",
        meaning="squeeze-and-excitation in every block",
        pattern=re.compile("se"),
        families=(ResNetConfig,),
        field="squeeze_excitation",
        value=lambda _match: True,
    ),
    Suffix(
        form="-dcn[@STAGES]",
        meaning="deformable 3×3 convolutions in stages 2, 3 and 4, or in the named stages, as in -dcn@34",
        pattern=re.compile("dcn(?:@(.*))?"),
        families=(ResNetConfig,),
        field="deformation",
        value=partial(_deformation, modulated=False),
    ),
    Suffix(
        form="-dcnv2[@STAGES]",
        meaning="the same, modulated",
        pattern=re.compile("dcnv2(?:@(.*))?"),
        families=(ResNetConfig,),
        field="deformation",
        value=partial(_deformation, modulated=True),
    ),
    Suffix(
        form="-xF",
        meaning="F times the channels of every layer, at least 8; "
        f"from {_WIDTH_FACTORS[0]:g} to {_WIDTH_FACTORS[1]:g}, as in -x0.25",
        pattern=re.compile(r"x(\d+(?:\.\d+)?)"),
        families=(InceptionConfig, MobileNetConfig),
        field="width_factor",
        value=_width_factor,
    ),
    Suffix(
        form="-valid",
        meaning="the paper's padding, for classification alone: feature strides are not exact",
        pattern=re.compile("valid"),
        families=(InceptionConfig,),
        field="valid_padding",
        value=lambda _match: True,
    ),
)


def names() -> list[str]:
    """List the base names of the zoo, shallow networks of a family first; each name accepts `SUFFIXES`."""
    return list(_ROWS)


def parse(spec: str) -> Config:
    """Read a spec: a base name and its suffixes, as in `"resnet10_d-w32"`.

    Args:
        spec: The spec from the user.

    Returns:
        The config to build.

    Raises:
        UserError: The name or a suffix is unknown, or a suffix is given twice, out of range, or not for this family.
    """
    base, *modifiers = spec.split("-")
    if base not in _ROWS:
        raise unknown("backbone", spec, names())
    config = _ROWS[base]
    used: dict[str, Suffix] = {}
    for modifier in modifiers:
        suffix, match = _find_suffix(spec, modifier)
        if type(config) not in suffix.families:
            raise _misapplied(spec, suffix, type(config))
        if earlier := used.get(suffix.field):
            raise _repeated(spec, suffix, earlier)
        used[suffix.field] = suffix
        config = replace(config, **{suffix.field: suffix.value(match)})
    return config


def _find_suffix(spec: str, modifier: str) -> tuple[Suffix, re.Match[str]]:
    for suffix in SUFFIXES:
        if match := suffix.pattern.fullmatch(modifier):
            return suffix, match
    known = (f"{suffix.form} ({suffix.meaning})" for suffix in SUFFIXES)
    raise UserError(f"backbone {spec!r}: {unknown('suffix', f'-{modifier}', known)}")


def _misapplied(spec: str, suffix: Suffix, family: type[Config]) -> UserError:
    applicable = ", ".join(other.form for other in SUFFIXES if family in other.families)
    return UserError(
        f"backbone {spec!r}: the suffix {suffix.form} is for {_listed(suffix.families)}; "
        f"{_listed([family])} takes {applicable}"
    )


def _repeated(spec: str, suffix: Suffix, earlier: Suffix) -> UserError:
    if suffix is earlier:
        return UserError(f"backbone {spec!r} has the suffix {suffix.form} twice; give it once")
    return UserError(
        f"backbone {spec!r} has both suffixes {earlier.form} and {suffix.form}; give one of them"
    )


def create(spec: str, *, in_channels: int = 3, output_stride: int = 32) -> Backbone:
    """Build a backbone with random weights from the paper's Xavier initialisation.

    Args:
        spec: A name from `names`, with or without suffixes: `"resnet10_d-w32"`.
        in_channels: Channels of the input images, at least 1.
        output_stride: Input pixels per location of the last feature map: 32, 16 or 8.

    Returns:
        The network in training mode. Its `feature_info` describes the maps that it returns.

    Raises:
        UserError: The spec is unknown, or a number is out of range.
    """
    if in_channels < 1:
        raise UserError(f"in_channels is {in_channels}; expected at least 1")
    if output_stride not in OUTPUT_STRIDES:
        allowed = ", ".join(map(str, OUTPUT_STRIDES))
        raise UserError(f"output stride {output_stride} is not built; expected one of {allowed}")
    if foreign.is_foreign(spec):
        network = foreign.create(spec, in_channels=in_channels, output_stride=output_stride)
        network.output_stride = output_stride
        return network
    config = parse(spec)
    build = _NETWORKS[type(config)]
    network = build(config, in_channels=in_channels, output_stride=output_stride)
    network.output_stride = output_stride
    if not network.aligned:
        network.aligned_spec = spec.replace("-valid", "")
    initialise(network)
    return network
