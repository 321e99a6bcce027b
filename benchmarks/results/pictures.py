"""The tasks' example pictures, scaled down and encoded for a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from benchmarks.results.read import RunFolder, RunRecord
from contract.machine import cpu_cores

MAX_WIDTH = 480
MAX_PICTURES = 4
JPEG_QUALITY = 84


@dataclass(frozen=True)
class Strip:
    """The example pictures of one row and task.

    Attributes:
        row: Name of the row.
        seed: The seed of the pictures; None if no seed is completed.
        pictures: `(file name, data URI)` of each picture; may be empty.
        reason: Why there are no pictures; else empty.
    """

    row: str
    seed: int | None
    pictures: tuple[tuple[str, str], ...]
    reason: str


def read_strips(run: RunFolder, task: str) -> tuple[Strip, ...]:
    """Read the pictures of a task for every row with the task, from its first completed seed.

    Args:
        run: A run folder as read.
        task: A task that draws pictures.

    Returns:
        One strip for each row, in the order of the plan.
    """
    chosen = [(row.name, records) for row in run.rows if (records := run.of(row.name, task))]
    # Pillow works outside of Python's lock.
    with ThreadPoolExecutor(cpu_cores()) as pool:
        return tuple(pool.map(lambda entry: _strip(*entry), chosen))


def _strip(row: str, records: Sequence[RunRecord]) -> Strip:
    """Read the pictures of one row."""
    record = next((record for record in records if record.result), None)
    if record is None or record.result is None:
        return Strip(row, None, (), f"no seed is completed ({records[0].state})")
    listed = record.result.artifacts.get("examples") or []
    pictures = tuple(
        (Path(name).name, uri)
        for name in listed[:MAX_PICTURES]
        if (uri := _encode(record.folder / name)) is not None
    )
    reason = "" if pictures else "the task wrote no readable examples"
    return Strip(row, record.seed, pictures, reason)


def _encode(path: Path) -> str | None:
    """Return a picture as a data URI, at most `MAX_WIDTH` wide; None if it cannot be read."""
    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
    except (FileNotFoundError, UnidentifiedImageError, OSError):
        # A missing picture changes no number; the strip reports it.
        return None
    if picture.width > MAX_WIDTH:
        height = max(1, round(picture.height * MAX_WIDTH / picture.width))
        picture = picture.resize((MAX_WIDTH, height), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    # Full chroma resolution, because label maps have hard edges between saturated colours.
    picture.save(stream, format="JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
