"""The style and output of the figures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from contract.errors import UserError

INK, MUTED, GRID = "#20242a", "#5b616a", "#dfe2e6"
# Okabe and Ito's colours, which colour-blind readers can distinguish; yellow is too faint on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
# A second cue in addition to colour, for greyscale prints.
DASHES = ("-", (0, (6, 2)), (0, (2, 1.2)), (0, (6, 2, 1.5, 2)), (0, (1, 1)), (0, (9, 1)), "-")
STYLE: dict[Any, Any] = {
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "legend.frameon": False,
    "lines.linewidth": 1.7,
    "lines.solid_capstyle": "round",
}
DOTS_PER_INCH = 150


def write(draw: Callable[[Figure], None], size: tuple[float, float], stem: Path) -> list[Path]:
    """Draw a figure and write it as PNG and as SVG; the same drawing gives the same files.

    Args:
        draw: Fills the figure.
        size: Width and height in inches.
        stem: The files' path without suffix.

    Returns:
        The paths written.
    """
    paths = []
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": stem.name}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
            path = stem.with_suffix(suffix)
            figure.savefig(path, dpi=DOTS_PER_INCH, metadata=metadata)
            paths.append(path)
    return paths


def make_folder(folder: Path) -> None:
    """Create the folder for the figures.

    Raises:
        UserError: It cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the folder {folder} cannot be made ({error.strerror}); name another with --out"
        ) from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"the folder {folder} cannot be written to; name another with --out")
