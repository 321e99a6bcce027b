"""The commands `data shrink`, `data pack` and `data unpack`."""

from __future__ import annotations

import argparse

from rich.console import Console

from contract.errors import UserError
from datasets.convert.workers import usable_cores


def shrink(options: argparse.Namespace) -> int:
    """Write a smaller copy of an image folder.

    Args:
        options: The parsed command line: `source`, `target`, `short_side`, `quality` and `processes`.

    Returns:
        The exit status.

    Raises:
        UserError: An option is out of range, or see `datasets.convert.shrink.shrink`.
    """
    from datasets.convert.shrink import Settings
    from datasets.convert.shrink import shrink as make

    if options.short_side < 1:
        raise UserError(f"--short-side {options.short_side} was given; expected 1 pixel or more")
    # Above 95, JPEG files grow without a visible gain (Pillow's documentation).
    if not 1 <= options.quality <= 95:
        raise UserError(f"--quality {options.quality} was given; expected 1 to 95")
    settings = Settings(options.short_side, options.quality)
    return make(options.source, options.target, settings, _console(), processes=_processes(options))


def pack(options: argparse.Namespace) -> int:
    """Write a packed copy of an image folder; options `source`, `target`, `shard_mib` and `processes`."""
    from datasets.convert.pack import pack as make

    if options.shard_mib < 1:
        raise UserError(f"--shard-mib {options.shard_mib} was given; expected 1 MiB or more")
    make(
        options.source,
        options.target,
        _console(),
        shard_mib=options.shard_mib,
        processes=_processes(options),
    )
    return 0


def unpack(options: argparse.Namespace) -> int:
    """Write the image folder of a packed one; options `source`, `target` and `processes`."""
    from datasets.convert.unpack import unpack as make

    make(options.source, options.target, _console(), processes=_processes(options))
    return 0


def _processes(options: argparse.Namespace) -> int:
    if options.processes is not None and options.processes < 1:
        raise UserError(f"--processes {options.processes} was given; expected 1 or more")
    return options.processes or usable_cores()


def _console() -> Console:
    return Console(highlight=False)
