"""``python -m backbones``: list, describe or check backbones, bring weights for one, or take them elsewhere."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from backbones import check
from backbones.backbone import OUTPUT_STRIDES, Backbone
from backbones.batch_statistics import Normalisation
from backbones.complexity import count_parameters, multiply_adds
from backbones.export import LIBRARIES, ExportReport, export_weights
from backbones.importing import (
    NORMALISATIONS,
    ImportReport,
    import_published,
    import_weights,
    normalisation_of,
    own_normalisation,
)
from backbones.pyramid import dense_features
from backbones.zoo import SUFFIXES, create, names
from contract.command_line import Parser
from contract.errors import UserError, listed_names

# Costs of different networks compare at one size only.
_COMMON_INPUT_SIZE = 224


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the command; None takes those of the process.

    Returns:
        The exit status: 0, or 2 after a user's mistake, told on standard error.
    """
    try:
        options = _parser().parse_args(arguments)
        if options.command == "import":
            print(_import(options))
        elif options.command == "export":
            print(_exported(options, export_weights(options.handoff, options.to, options.out)))
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
        description="List, describe or check backbones, bring weights for one, or take them elsewhere.",
        epilog=_suffix_help(),
    )
    commands = parser.add_subparsers(dest="command")
    describe = commands.add_parser("describe", help="tell size, cost and features of one backbone")
    describe.add_argument("spec", help="a name with suffixes, as in resnet10_d-w32")
    describe.add_argument("--output-stride", type=int, default=32, help="32 (default), 16 or 8")
    describe.add_argument("--json", action="store_true", help="print JSON for other programs")
    checking = commands.add_parser(
        "check", help="try whether networks can be backbones, and at which output strides"
    )
    checking.add_argument("specs", nargs="+", metavar="spec", help="as in timm:convnext_atto")
    importing = commands.add_parser("import", help="turn public weights into a hand-off checkpoint")
    importing.add_argument("spec", help="the backbone that the weights are of")
    importing.add_argument(
        "file",
        help="a .safetensors, .pth or .pt file; or 'published': what timm or torchvision publishes for the spec, as in "
        "timm:resnet50.a1_in1k",
    )
    importing.add_argument("--out", type=Path, required=True, help="the hand-off to write")
    importing.add_argument(
        "--normalisation",
        help=f"what the weights in a file were trained with: {', '.join(NORMALISATIONS)}",
    )
    for name, what in (("--mean", "mean"), ("--std", "standard deviation")):
        importing.add_argument(
            name,
            nargs=3,
            type=float,
            metavar=("C1", "C2", "C3"),
            help=f"in place of --normalisation: the {what} of each channel, for pixels from 0 to 255",
        )
    importing.add_argument(
        "--channel-order", choices=("RGB", "BGR"), help="with --mean and --std; default: RGB"
    )
    importing.add_argument("--tag", help="of torchvision's published weights; its default else")
    importing.add_argument("--key", help="where in the file the tensors lie; found else")
    importing.add_argument("--prefix", help="what stands before their names; found else")
    importing.add_argument(
        "--by-order",
        action="store_true",
        help="match layer by layer, by order and shape: for another program's names of the same network",
    )
    importing.add_argument(
        "--allow-missing",
        action="append",
        default=[],
        metavar="PATTERN",
        help="names that the file may lack, as in 'layer4.*'; they stay random, and every table says so",
    )
    importing.add_argument(
        "--show-map", action="store_true", help="print which tensor of the file went where"
    )
    exporting = commands.add_parser(
        "export", help="write a hand-off's weights under the names of another program"
    )
    exporting.add_argument("handoff", type=Path, help="a backbone.safetensors")
    exporting.add_argument("--to", required=True, choices=LIBRARIES, help="the program")
    exporting.add_argument(
        "--out", type=Path, required=True, help="the file to write: .safetensors, .pth or .pt"
    )
    return parser


def _import(options: argparse.Namespace) -> str:
    if options.file == "published":
        return _told(options, _import_published(options))
    normalisation = _normalisation(options)
    if options.tag is not None:
        raise UserError("--tag names published weights; a file has none: leave it out")
    report = import_weights(
        options.spec,
        options.file,
        options.out,
        normalisation,
        key=options.key,
        prefix=options.prefix,
        in_order=options.by_order,
        allow_missing=options.allow_missing,
    )
    return _told(options, report)


def _normalisation(options: argparse.Namespace) -> Normalisation:
    """What the options name, by its name or by its numbers."""
    numbers = options.mean, options.std
    if options.normalisation is not None:
        if any((*numbers, options.channel_order)):
            raise UserError(
                "--normalisation names mean, standard deviation and order of channels: leave out --mean, --std and "
                "--channel-order, or it"
            )
        return normalisation_of(options.normalisation)
    if None in numbers:
        raise UserError(
            f"--normalisation is missing: no file says what its weights were trained with; give one of "
            f"{', '.join(NORMALISATIONS)}, or both --mean and --std"
        )
    return own_normalisation(*numbers, options.channel_order or "RGB")


def _import_published(options: argparse.Namespace) -> ImportReport:
    """Published weights come with all that a file leaves open, so that there is nothing to choose."""
    given = {
        "--normalisation": options.normalisation,
        "--mean": options.mean,
        "--std": options.std,
        "--channel-order": options.channel_order,
        "--key": options.key,
        "--prefix": options.prefix,
        "--by-order": options.by_order,
        "--allow-missing": options.allow_missing,
    }
    for name, value in given.items():
        if value:
            raise UserError(
                f"{name} is for files; published weights come with theirs: leave it out"
            )
    return import_published(options.spec, options.out, tag=options.tag)


def _told(options: argparse.Namespace, report: ImportReport) -> str:
    place = f"key {report.key!r}, prefix {report.prefix!r}"
    lines = [
        f"{options.out}: {report.taken} tensors of {options.spec} from {options.file} ({place})",
        f"sha256 {report.sha256}",
        *(f"note: {note}" for note in report.notes),
    ]
    if options.by_order or options.show_map:
        width = max(map(len, report.source_names.values()))
        lines += [f"  {theirs:<{width}} -> {ours}" for ours, theirs in report.source_names.items()]
    if report.random:
        lines.append(
            f"RANDOM: {len(report.random)} tensors that the file lacks ({listed_names(report.random)})"
        )
    if report.left:
        lines.append(f"left aside: {len(report.left)} ({listed_names(report.left)})")
    return "\n".join(lines)


def _check(specs: Sequence[str]) -> int:
    """Print a table of which networks can be backbones; 2 where one cannot."""
    print(check.HEADER, flush=True)
    worked = []
    for spec in specs:
        line, works = check.row(spec)
        print(line, flush=True)
        worked.append(works)
    return 0 if all(worked) else 2


def _exported(options: argparse.Namespace, report: ExportReport) -> str:
    told = report.metadata
    classifier = f", the classifier as {report.head}" if report.head else ""
    compared = f"not compared: {options.to} is not imported here; its names are those of its source"
    if report.errors:
        worst = max(report.errors.values())
        compared = (
            f"compared: read back and loaded, it has {', '.join(report.errors)} on two random images that differ from "
            f"ours by at most {worst:.2g} of the largest value"
        )
    unit = ", ".join(f"{value / 255:.4g}" for value in told.mean)
    spread = ", ".join(f"{value / 255:.4g}" for value in told.std)
    lines = [
        f"{options.out}: {report.tensors} tensors of {report.spec} as {options.to} names them{classifier}",
        f"built by: {report.call}",
        compared,
        f"normalisation: {told.channel_order}, mean {told.mean}, std {told.std} for pixels from 0 to 255",
        f"               mean ({unit}), std ({spread}) for pixels from 0 to 1",
        *(f"note: {note}" for note in report.notes),
    ]
    return "\n".join(lines)


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
    """Build a network of shapes alone: neither memory nor time goes into its weights."""
    with torch.device("meta"):
        return create(spec, output_stride=output_stride)


if __name__ == "__main__":
    sys.exit(main())
