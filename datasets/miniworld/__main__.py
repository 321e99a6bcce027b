"""Generate a preset or draw a contact sheet: `python -m datasets.miniworld`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from contract.errors import UserError, unknown
from datasets.miniworld.sheet import contact_sheet
from datasets.miniworld.spec import PRESETS
from datasets.miniworld.world import prepare


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m datasets.miniworld")
    parser.add_argument("--preset", default="mini", help=f"one of: {', '.join(PRESETS)}")
    parser.add_argument("--root", type=Path, help="generate the preset into this folder")
    parser.add_argument("--processes", type=int, help="worker processes (default: one per core)")
    parser.add_argument("--sheet", type=Path, help="draw samples of the three sets into this PNG")
    options = parser.parse_args(arguments)
    if options.root is None and options.sheet is None:
        parser.error("nothing to do: give --root DIR to generate, or --sheet FILE for a look")
    try:
        if options.preset not in PRESETS:
            raise unknown("miniworld preset", options.preset, PRESETS)
        if options.root is not None:
            print(prepare(options.preset, options.root, options.processes))
        if options.sheet is not None:
            contact_sheet(PRESETS[options.preset]).save(options.sheet)
            print(options.sheet)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
