"""`data`: prepare or verify datasets."""

from __future__ import annotations

import argparse

from benchmarks.commands.verify import verify_data


def data(options: argparse.Namespace) -> int:
    """Prepare or verify datasets."""
    if options.data_command == "prepare":
        from datasets.prepare.command import prepare

        return prepare(options)
    return verify_data(options.kind, options.path)
