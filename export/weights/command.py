"""The command `python -m export weights`, also `python -m backbones export`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from contract.errors import UserError
from export.weights.counterparts import LIBRARIES
from export.weights.write import WeightsReport, export_weights


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Arguments after the command; None takes those of the process.

    Returns:
        The exit status: 0, or 2 after a user's mistake, which is printed to standard error.
    """
    parser = argparse.ArgumentParser(
        prog="python -m export weights",
        description="Write a pretrained checkpoint's weights under another program's names.",
    )
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="a backbone.safetensors"
    )
    parser.add_argument("--to", required=True, choices=LIBRARIES, help="the program")
    parser.add_argument(
        "--out", type=Path, required=True, help="the file to write: .safetensors, .pth or .pt"
    )
    options = parser.parse_args(arguments)
    try:
        print(_report(options, export_weights(options.checkpoint, options.to, options.out)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _report(options: argparse.Namespace, result: WeightsReport) -> str:
    source = result.metadata
    classifier = f", the classifier as {result.head}" if result.head else ""
    compared = (
        f"not compared: {options.to} is not imported here; the names come from its source code"
    )
    if result.errors:
        worst = max(result.errors.values())
        compared = (
            f"compared: read back and loaded, its {', '.join(result.errors)} on two random images differ from ours by "
            f"at most {worst:.2g} of the largest value"
        )
    unit = ", ".join(f"{value / 255:.4g}" for value in source.mean)
    spread = ", ".join(f"{value / 255:.4g}" for value in source.std)
    lines = [
        f"{options.out}: {result.tensors} tensors of {result.spec} under the names of {options.to}{classifier}",
        f"built by: {result.call}",
        compared,
        f"normalisation: {source.channel_order}, mean {source.mean}, std {source.std} for pixels from 0 to 255",
        f"               mean ({unit}), std ({spread}) for pixels from 0 to 1",
        *(f"note: {note}" for note in result.notes),
    ]
    return "\n".join(lines)
