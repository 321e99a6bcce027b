"""Run checks: `python -m engine.acceptance CHECK… [--device auto|cpu|cuda] [--json]`."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence

from contract.acceptance import Line, print_line
from contract.errors import UserError
from contract.settings import DEVICES
from engine.acceptance import speed
from engine.acceptance.device import check_device
from engine.acceptance.memory import check_memory
from engine.acceptance.ops import check_ops
from engine.runner.device import resolve_device

CHECKS: dict[str, Callable[[argparse.Namespace, str], Iterator[Line]]] = {
    "device": lambda options, device_type: check_device(device_type),
    "ops": lambda options, device_type: check_ops(device_type),
    "speed": speed.check_speed,
    "memory": check_memory,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks and return 0 if none failed, else 1; with `--json` 0 if all gave a verdict.

    If the device cannot be used, one more line says why, and the CPU is checked.
    """
    parser = argparse.ArgumentParser(prog="python -m engine.acceptance")
    parser.add_argument("checks", nargs="+", choices=CHECKS, metavar="CHECK")
    parser.add_argument(
        "--device", choices=DEVICES, default="auto", help="default: a GPU if there is one"
    )
    parser.add_argument("--json", action="store_true", help="print lines for the harness")
    speed.add_options(parser)
    options = parser.parse_args(arguments)
    show = print_line if options.json else _print
    failed = crashed = False
    try:
        device_type = resolve_device(options.device).type
    except UserError as error:
        expected = "a GPU that torch can use; with --device cpu, the CPU"
        show(Line(check="device", found=str(error), expected=expected, verdict="failed"))
        device_type, failed = "cpu", True
    for name in options.checks:
        try:
            for line in CHECKS[name](options, device_type):
                failed |= line.verdict == "failed"
                show(line)
        except Exception:
            traceback.print_exc()
            crashed = True
    return int(crashed or (failed and not options.json))


def _print(line: Line) -> None:
    print(f"{line.verdict}: {line.check}: {line.found}; expected: {line.expected}")


if __name__ == "__main__":
    sys.exit(main())
