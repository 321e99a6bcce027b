"""The colours of the report, and the colour and marker of each row in all its figures.

Rows without pretraining are grey, because the control is a reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.plan.document import RowEntry

CONTROL, INK, MUTED, GRID, SURFACE = "#767b83", "#20242a", "#5b616a", "#dfe2e6", "#fefefe"
# Okabe and Ito's colours, which colour-blind readers can distinguish; yellow is too faint on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
MARKERS = (
    ("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("*", "★"),
)  # fmt: skip
VARIABLES = {
    **{colour: f"--series-{index}" for index, colour in enumerate(PALETTE)},
    CONTROL: "--control", INK: "--ink", MUTED: "--muted", GRID: "--line", SURFACE: "--surface",
}  # fmt: skip


@dataclass(frozen=True)
class RowStyle:
    """The colour, marker and dashes of a row in all figures."""

    colour: str
    marker: str
    glyph: str
    dashes: str

    @property
    def css(self) -> str:
        """The colour for the page's markup."""
        return f"var({VARIABLES[self.colour]}, {self.colour})"


def row_styles(rows: Sequence[RowEntry]) -> dict[str, RowStyle]:
    """Assign a colour, marker and dash pattern to each row.

    Args:
        rows: The rows in the order of the plan.

    Returns:
        Styles by row name; after seven pretrained rows, the colours repeat with dashes.
    """
    styles, used = {}, 0
    for row in rows:
        if row.pretrain:
            cycle, index = divmod(used, len(PALETTE))
            dashes = ("-", "--", ":")[cycle % 3]
            # Markers change with each cycle, because scatter plots have no dashes.
            marker, glyph = MARKERS[(index + cycle) % len(MARKERS)]
            styles[row.name] = RowStyle(PALETTE[index], marker, glyph, dashes)
            used += 1
        else:
            styles[row.name] = RowStyle(CONTROL, "X", "✖", "-")
    return styles
