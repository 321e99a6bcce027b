"""The names of the backbones, and what each of them builds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from backbones.backbone import OUTPUT_STRIDES, Backbone
from backbones.errors import UserError, unknown
from backbones.initialisation import initialise
from backbones.resnet import ResNet, ResNetConfig

_DEPTHS = {
    10: ResNetConfig(blocks=(1, 1, 1, 1), bottleneck=False),
    18: ResNetConfig(blocks=(2, 2, 2, 2), bottleneck=False),
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
_ROWS = {
    f"resnet{depth}{tweak}": replace(config, **fields)
    for depth, config in _DEPTHS.items()
    for tweak, fields in _TWEAKS.items()
}


@dataclass(frozen=True)
class Suffix:
    """A modifier that may follow a base name after a hyphen.

    Attributes:
        form: How it is written, for help and errors, as in ``"-wN"``.
        meaning: What it does, for help and errors.
        pattern: What the text after the hyphen must match in full.
        apply: Changes the row by the match; raises UserError for values out of range.
    """

    form: str
    meaning: str
    pattern: re.Pattern[str]
    apply: Callable[[ResNetConfig, re.Match[str]], ResNetConfig]


_WIDTHS = range(8, 513, 8)


def _set_width(config: ResNetConfig, match: re.Match[str]) -> ResNetConfig:
    width = int(match[1])
    if width not in _WIDTHS:
        raise UserError(
            f"width suffix '-w{width}' is out of range; "
            f"expected a multiple of {_WIDTHS.step} from {_WIDTHS[0]} to {_WIDTHS[-1]}"
        )
    return replace(config, width=width)


SUFFIXES = (
    Suffix(
        form="-wN",
        meaning=f"base width N instead of {ResNetConfig.width}; "
        f"a multiple of {_WIDTHS.step} from {_WIDTHS[0]} to {_WIDTHS[-1]}",
        pattern=re.compile(r"w(\d+)"),
        apply=_set_width,
    ),
)


def names() -> list[str]:
    """List the base names of the zoo, shallow ones first; each takes the ``SUFFIXES``."""
    return list(_ROWS)


def parse(spec: str) -> ResNetConfig:
    """Read a spec: a base name and its suffixes, as in ``"resnet10_d-w32"``.

    Args:
        spec: What the user asked for.

    Returns:
        The row to build.

    Raises:
        UserError: If the name or a suffix is unknown, given twice, or out of range.
    """
    base, *modifiers = spec.split("-")
    if base not in _ROWS:
        raise unknown("backbone", spec, names())
    config = _ROWS[base]
    used: set[str] = set()
    for modifier in modifiers:
        suffix, match = _find_suffix(spec, modifier)
        if suffix.form in used:
            raise UserError(f"backbone {spec!r} has the suffix {suffix.form} twice; give it once")
        used.add(suffix.form)
        config = suffix.apply(config, match)
    return config


def _find_suffix(spec: str, modifier: str) -> tuple[Suffix, re.Match[str]]:
    for suffix in SUFFIXES:
        if match := suffix.pattern.fullmatch(modifier):
            return suffix, match
    known = (f"{suffix.form} ({suffix.meaning})" for suffix in SUFFIXES)
    raise UserError(f"backbone {spec!r}: {unknown('suffix', f'-{modifier}', known)}")


def create(spec: str, *, in_channels: int = 3, output_stride: int = 32) -> Backbone:
    """Build a backbone with fresh weights, drawn by the paper's Xavier initialisation.

    Args:
        spec: A name of :func:`names`, with suffixes where wanted: ``"resnet10_d-w32"``.
        in_channels: Channels of the input images, at least 1.
        output_stride: Input pixels per cell of the last feature map: 32, 16 or 8.

    Returns:
        The network in training mode. Its ``feature_info`` describes the maps that it returns.

    Raises:
        UserError: If the spec is unknown, or one of the numbers is out of range.
    """
    config = parse(spec)
    if in_channels < 1:
        raise UserError(f"in_channels is {in_channels}; expected at least 1")
    if output_stride not in OUTPUT_STRIDES:
        allowed = ", ".join(map(str, OUTPUT_STRIDES))
        raise UserError(f"output stride {output_stride} is not built; expected one of {allowed}")
    network = ResNet(config, in_channels=in_channels, output_stride=output_stride)
    initialise(network)
    return network
