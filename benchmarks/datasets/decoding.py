"""Tries whether pictures decode, several at a time."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Progress = Callable[[int, int], None]

# What Pillow raises for damaged files, by format.
DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


# What the loaders put right in a picture each time, as counted: grey, palette and RGBA become RGB; a camera's turn is
# undone; a PNG named .jpg is read as what it is.
MENDS = ("converted_to_rgb", "turned_upright", "of_another_format")
_ORIENTATION = 0x0112
_FORMATS = {".jpg": ("JPEG", "MPO"), ".jpeg": ("JPEG", "MPO"), ".png": ("PNG",)}


@dataclass(frozen=True)
class Picture:
    """What is known of a picture file.

    Attributes:
        size: Width and height in pixels as loaded, upright, or None where the file can't be read.
        mode: Pillow's mode, for example `"RGB"` or `"L"`; empty where the file can't be read.
        fault: What is wrong with the file, or an empty string.
        mends: Which of `MENDS` it takes to load it.
    """

    size: tuple[int, int] | None
    mode: str
    fault: str = ""
    mends: tuple[str, ...] = ()


def inspect(path: Path, decode: bool) -> Picture:
    """Reads a picture's header and, with `decode`, all of its pixels."""
    try:
        with warnings.catch_warnings():
            # A huge picture is the user's business; it is told apart from a broken one here.
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                size, mode, kind = picture.size, picture.mode, picture.format
                # As `engine.images` reads it: only JPEG cameras turn by tag.
                turn = picture.getexif().get(_ORIENTATION, 1) if kind in ("JPEG", "MPO") else 1
                if decode:
                    picture.load()
    except FileNotFoundError:
        return Picture(None, "", "the image is missing; put it there or take it off the list")
    except DECODE_ERRORS as error:
        return Picture(
            None,
            "",
            f"the image does not decode ({error}); it is truncated or no image: get it anew",
        )
    if turn in (5, 6, 7, 8):
        size = size[1], size[0]
    expected = _FORMATS.get(path.suffix.lower(), (kind,))
    found = (mode != "RGB", turn in range(2, 9), kind not in expected)
    return Picture(
        size, mode, mends=tuple(mend for mend, is_so in zip(MENDS, found, strict=True) if is_so)
    )


def count_mends(all_mends: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """Counts each of `MENDS` over pictures."""
    counted = Counter(mend for mends in all_mends for mend in mends)
    return {mend: counted[mend] for mend in MENDS}


def map_threaded(
    function: Callable[[Item], Outcome], items: Sequence[Item], progress: Progress | None = None
) -> Iterable[Outcome]:
    """Yields `function(item)` for every item, in order.

    Threads do, since Pillow decodes without holding the interpreter lock.

    Args:
        function: Called from several threads.
        items: What to call it on.
        progress: Called with items done and items in total, now and then.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, outcome in enumerate(pool.map(function, items), start=1):
            if progress is not None and (done % 100 == 0 or done == len(items)):
                progress(done, len(items))
            yield outcome
