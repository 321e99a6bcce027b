"""`python -m backbones`: list, describe or check backbones, import weights for one, or export them."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence

import torch

from backbones import check
from backbones.backbone import OUTPUT_STRIDES, Backbone
from backbones.complexity import count_parameters, multiply_adds
from backbones.pyramid import dense_features
from backbones.weights import command as weights
from backbones.zoo import SUFFIXES, create, names
from contract.command_line import Parser
from contract.errors import UserError

# Costs of different networks can only be compared at the same size.
_COMMON_INPUT_SIZE = 224
_EXPORT = "export"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Arguments after the command; None takes those of the process.

    Returns:
        The exit status: 0, or 2 after a user's mistake, which is printed to standard error.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == [_EXPORT]:
        # `export` is a layer above this package, so it must not be imported here.
        return importlib.import_module("export.weights.command").main(words[1:])
    try:
        options = _parser().parse_args(words)
        if options.command == "import":
            print(weights.run(options))
        elif options.command == "describe":
            print(_describe(options.spec, options.output_stride, as_json=options.json))
        elif options.command == "check":
            return _check(options.specs)
        else:
            print(_table())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m backbones",
        description="List, describe or check backbones, import weights for one, or export them.",
        epilog=_suffix_help(),
    )
    commands = parser.add_subparsers(dest="command")
    describe = commands.add_parser("describe", help="show size, cost and features of one backbone")
    describe.add_argument("spec", help="a name with suffixes, as in resnet10_d-w32")
    describe.add_argument("--output-stride", type=int, default=32, help="32 (default), 16 or 8")
    describe.add_argument("--json", action="store_true", help="print JSON for other programs")
    checking = commands.add_parser(
        "check", help="try whether networks can be backbones, and at which output strides"
    )
    checking.add_argument("specs", nargs="+", metavar="spec", help="as in timm:convnext_atto")
    weights.add_options(
        commands.add_parser("import", help="turn public weights into a pretrained checkpoint")
    )
    commands.add_parser(_EXPORT, help="write a checkpoint's weights under another program's names")
    return parser


def _check(specs: Sequence[str]) -> int:
    """Print a table of the networks; return 2 if one cannot be a backbone."""
    print(check.HEADER, flush=True)
    worked = []
    for spec in specs:
        line, works = check.row(spec)
        print(line, flush=True)
        worked.append(works)
    return 0 if all(worked) else 2


def _suffix_help() -> str:
    return "Suffixes: " + "; ".join(f"{suffix.form}: {suffix.help}" for suffix in SUFFIXES) + "."


def _table() -> str:
    lines = [f"{'name':<14} {'parameters':>12} {'input':>7} {'multiply-adds':>15}"]
    for name in names():
        network = _without_weights(name)
        parameters, cost = count_parameters(network), _cost(network, network.input_size)
        lines.append(
            f"{name:<14} {parameters / 1e6:>10.2f} M {network.input_size:>7} {cost / 1e9:>13.2f} G"
        )
    return "\n".join([*lines, "", "Without classifier. " + _suffix_help()])


def _describe(spec: str, output_stride: int, *, as_json: bool) -> str:
    network = _without_weights(spec, output_stride=output_stride)
    size, info = network.input_size, network.feature_info
    parameters = count_parameters(network)
    costs = {side: _cost(network, side) for side in (_COMMON_INPUT_SIZE, size)}
    if as_json:
        return json.dumps(
            {
                "spec": spec,
                "output_stride": output_stride,
                "parameters": parameters,
                "input_size": size,
                "image_multiple": network.image_multiple,
                "multiply_adds": costs[size],
                "multiply_adds_at_224": costs[_COMMON_INPUT_SIZE],
                "features": [feature._asdict() for feature in info],
                "dense_features": [f._asdict() for f in dense_features(network, output_stride)],
            },
            indent=2,
        )
    width = max(10, *(len(feature.name) for feature in info))
    lines = [
        f"{spec} at output stride {output_stride}, without classifier",
        f"parameters            {parameters:,}",
        f"input size            {size}",
        *(f"multiply-adds at {side}  {cost:,}" for side, cost in costs.items()),
    ]
    if network.image_multiple > OUTPUT_STRIDES[0]:
        lines += [f"images are padded to multiples of {network.image_multiple} pixels"]
    lines += [f"{'feature':<{width}} {'channels':>8} {'stride':>7}"]
    lines += [f"{f.name:<{width}} {f.channels:>8} {f.stride:>7}" for f in info]
    if network.plain:
        lines += ["in detectors and segmentors, by a simple feature pyramid that is part of them:"]
        levels = dense_features(network, output_stride)
        lines += [f"{f.name:<{width}} {f.channels:>8} {f.stride:>7}" for f in levels]
    return "\n".join(lines)


def _cost(network: Backbone, size: int) -> int:
    return multiply_adds(network, (size, size))


def _without_weights(spec: str, *, output_stride: int = 32) -> Backbone:
    """Build a network on the device "meta", whose weights take neither memory nor time."""
    with torch.device("meta"):
        return create(spec, output_stride=output_stride)


if __name__ == "__main__":
    sys.exit(main())
