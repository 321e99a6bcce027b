"""Run checks: `python -m engine.acceptance CHECK… [--device cpu|cuda] [--json]`."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence

import torch

from contract.acceptance import Line, print_line
from engine.acceptance import speed
from engine.acceptance.device import check_device
from engine.acceptance.memory import check_memory
from engine.acceptance.ops import check_ops

CHECKS: dict[str, Callable[[argparse.Namespace, str], Iterator[Line]]] = {
    "device": lambda options, device_type: check_device(device_type),
    "ops": lambda options, device_type: check_ops(device_type),
    "speed": speed.check_speed,
    "memory": check_memory,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks and return 0 if none failed, else 1; with `--json` 0 if all gave a verdict."""
    parser = argparse.ArgumentParser(prog="python -m engine.acceptance")
    parser.add_argument("checks", nargs="+", choices=CHECKS, metavar="CHECK")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    parser.add_argument("--json", action="store_true", help="print lines for the harness")
    speed.add_options(parser)
    options = parser.parse_args(arguments)
    device_type = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    failed = crashed = False
    for name in options.checks:
        try:
            for line in CHECKS[name](options, device_type):
                failed |= line.verdict == "failed"
                if options.json:
                    print_line(line)
                else:
                    print(f"{line.verdict}: {line.check}: {line.found}; expected: {line.expected}")
        except Exception:
            traceback.print_exc()
            crashed = True
    return int(crashed or (failed and not options.json))


if __name__ == "__main__":
    sys.exit(main())
