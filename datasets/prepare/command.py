"""The command `data prepare`, in a separate module to keep its start-up fast."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from contract.errors import UserError, unknown
from datasets.prepare.catalogue import SETS
from datasets.prepare.workflow import prepare_sets

DATA = Path(__file__).resolve().parents[2] / "data"
GENERATED = "miniworld"


def prepare(options: argparse.Namespace) -> int:
    """Prepare the named datasets.

    Args:
        options: The parsed command line: `names`, `root`, `preset` and `archives`.

    Returns:
        The exit status.

    Raises:
        UserError: A name is unknown, the options conflict, or a dataset cannot be prepared.
    """
    names = list(dict.fromkeys(options.names))
    for name in names:
        if name not in (GENERATED, *SETS):
            raise unknown("dataset", name, (GENERATED, *SETS))
    real = [name for name in names if name != GENERATED]
    if options.archives is not None and "imagenet" not in real:
        raise UserError("--archives was given without imagenet; only its archives are the user's.")
    if real and real != names and options.root is not None:
        raise UserError(
            f"--root {options.root} was given for {GENERATED} and others, and {GENERATED} fills a "
            "folder of its own: prepare it in a command of its own."
        )
    console = Console(highlight=False)
    if real != names:
        # Imported late, because importing scipy.ndimage takes a second.
        from datasets import miniworld

        folder = miniworld.prepare(options.preset, options.root or DATA / GENERATED)
        console.print(f"The dataset is in {folder}.", soft_wrap=True)
    prepare_sets(real, options.root or DATA, console, options.archives)
    return 0
