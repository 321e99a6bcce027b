"""`python -m export onnx RUN` or `python -m export weights CHECKPOINT`: see their `--help`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

_COMMANDS = {
    "onnx": "write the network of a finished run as an ONNX file",
    "weights": "write a pretrained checkpoint's weights under another program's names",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in _COMMANDS.items():
        commands.add_parser(name, help=purpose, add_help=False)
    command = parser.parse_known_args(words[:1])[0].command
    # Imported late: weights need no OpenMMLab.
    return importlib.import_module(f"export.{command}.command").main(words[1:])


if __name__ == "__main__":
    sys.exit(main())
