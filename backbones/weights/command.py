"""The command `python -m backbones import`: its options and output."""

from __future__ import annotations

import argparse
from pathlib import Path

from backbones.normalisation import NORMALISATIONS, Normalisation
from backbones.weights.importing import (
    ImportReport,
    import_published,
    import_weights,
    normalisation_of,
    own_normalisation,
)
from contract.errors import UserError, listed_names


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("spec", help="the backbone that the weights belong to")
    parser.add_argument(
        "file",
        help="a .safetensors, .pth or .pt file; or 'published': the weights that timm or torchvision publishes for the "
        "spec, as in timm:resnet50.a1_in1k",
    )
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    parser.add_argument(
        "--normalisation",
        help=f"the normalisation that the weights in a file were trained with: {', '.join(NORMALISATIONS)}",
    )
    for name, what in (("--mean", "mean"), ("--std", "standard deviation")):
        parser.add_argument(
            name,
            nargs=3,
            type=float,
            metavar=("C1", "C2", "C3"),
            help=f"instead of --normalisation: the {what} of each channel, for pixels from 0 to 255",
        )
    parser.add_argument(
        "--channel-order", choices=("RGB", "BGR"), help="with --mean and --std; default: RGB"
    )
    parser.add_argument(
        "--tag", help="tag of torchvision's published weights; default: torchvision's"
    )
    parser.add_argument(
        "--key", help="the key in the file that holds the tensors; default: search for it"
    )
    parser.add_argument("--prefix", help="the prefix of their names; default: search for it")
    parser.add_argument(
        "--by-order",
        action="store_true",
        help="match layer by layer, by order and shape, if the file has another program's names for the same network",
    )
    parser.add_argument(
        "--allow-missing",
        action="append",
        default=[],
        metavar="PATTERN",
        help="names that may be missing from the file, as in 'layer4.*'; these stay random, and every table says so",
    )
    parser.add_argument(
        "--show-map",
        action="store_true",
        help="print which tensor of the file went where",
    )


def run(options: argparse.Namespace) -> str:
    """Import weights and return a report as text.

    Raises:
        UserError: The options conflict, or the weights cannot be imported.
    """
    if options.file == "published":
        return _report(options, _import_published(options))
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
    return _report(options, report)


def _normalisation(options: argparse.Namespace) -> Normalisation:
    """Return the normalisation that the options give, by name or by numbers."""
    numbers = options.mean, options.std
    if options.normalisation is not None:
        if any((*numbers, options.channel_order)):
            raise UserError(
                "--normalisation gives mean, standard deviation and order of channels: leave it out, or "
                "leave out --mean, --std and --channel-order"
            )
        return normalisation_of(options.normalisation)
    if None in numbers:
        raise UserError(
            f"--normalisation is missing: a file does not say what its weights were trained with; give one of "
            f"{', '.join(NORMALISATIONS)}, or both --mean and --std"
        )
    return own_normalisation(*numbers, options.channel_order or "RGB")


def _import_published(options: argparse.Namespace) -> ImportReport:
    """Import published weights, whose library provides what the options for files specify."""
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
                f"{name} is for files; published weights need no such option: leave it out"
            )
    return import_published(options.spec, options.out, tag=options.tag)


def _report(options: argparse.Namespace, report: ImportReport) -> str:
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
            f"RANDOM: {len(report.random)} tensors are missing from the file ({listed_names(report.random)})"
        )
    if report.left:
        lines.append(f"not taken: {len(report.left)} ({listed_names(report.left)})")
    return "\n".join(lines)
