"""Tries whether pictures decode, several at a time."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
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


@dataclass(frozen=True)
class Picture:
    """What is known of a picture file.

    Attributes:
        size: Width and height in pixels, or None where the file can't be read.
        mode: Pillow's mode, for example `"RGB"` or `"L"`; empty where the file can't be read.
        fault: What is wrong with the file, or an empty string.
    """

    size: tuple[int, int] | None
    mode: str
    fault: str = ""


def inspect(path: Path, decode: bool) -> Picture:
    """Reads a picture's header and, with `decode`, all of its pixels."""
    try:
        with warnings.catch_warnings():
            # A huge picture is the user's business; it is told apart from a broken one here.
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                size, mode = picture.size, picture.mode
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
    return Picture(size, mode)


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
