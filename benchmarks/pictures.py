"""Pictures for the report: the stages' examples, made small and put inside the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from benchmarks.results import Run

MAX_WIDTH = 480
MAX_PICTURES = 4
JPEG_QUALITY = 84


@dataclass(frozen=True)
class Strip:
    """The pictures of one row and stage.

    Attributes:
        row: Name of the row.
        seed: The seed that made them; None where no seed is completed.
        pictures: `(file name, data URI)` of each; empty where there is none.
        reason: Why there is none; empty where there are some.
    """

    row: str
    seed: int | None
    pictures: tuple[tuple[str, str], ...]
    reason: str


def read_strips(run: Run, stage: str) -> tuple[Strip, ...]:
    """Read the pictures of one stage for every row that has it, from its first completed seed.

    Args:
        run: A run folder as read.
        stage: `det` or `seg`.

    Returns:
        One strip a row, in the order of the plan.
    """
    strips = []
    for row in run.rows:
        cells = run.of(row.name, stage)
        if not cells:
            continue
        cell = next((cell for cell in cells if cell.result), None)
        if cell is None or cell.result is None:
            strips.append(Strip(row.name, None, (), f"no seed is completed ({cells[0].state})"))
            continue
        listed = cell.result.artifacts.get("examples") or []
        pictures = tuple(
            (Path(name).name, uri)
            for name in listed[:MAX_PICTURES]
            if (uri := _encode(cell.folder / name)) is not None
        )
        reason = "" if pictures else "the stage wrote no readable examples"
        strips.append(Strip(row.name, cell.seed, pictures, reason))
    return tuple(strips)


def _encode(path: Path) -> str | None:
    """Return a picture as a data URI, at most `MAX_WIDTH` wide; None where it cannot be read."""
    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
    except (FileNotFoundError, UnidentifiedImageError, OSError):
        return (
            None  # an illustration that is gone leaves the numbers as they are; the strip says so
        )
    if picture.width > MAX_WIDTH:
        height = max(1, round(picture.height * MAX_WIDTH / picture.width))
        picture = picture.resize((MAX_WIDTH, height), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    # Full chroma resolution: label maps are made of hard edges between saturated colours.
    picture.save(stream, format="JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
