"""`data`: prepare, verify, shrink, pack or unpack datasets."""

from __future__ import annotations

import argparse

from benchmarks.commands.verify import verify_data


def data(options: argparse.Namespace) -> int:
    """Prepare, verify, shrink, pack or unpack datasets."""
    if options.data_command == "prepare":
        from datasets.prepare.command import prepare

        return prepare(options)
    if options.data_command != "verify":
        # Imported late, as all commands are.
        from datasets.convert import command

        return getattr(command, options.data_command)(options)
    return verify_data(options.kind, options.path)
