"""Read images for training, and inspect them in threads for the check."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image, ImageOps

from contract.errors import UserError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Progress = Callable[[int, int], None]

# The suffixes of torchvision's ImageFolder; other files in a folder of images are ignored.
IMAGE_SUFFIXES = frozenset(
    (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
# Repairs by `read_rgb`, as they are counted: grey, palette and RGBA become RGB; a camera's rotation is undone; a PNG
# named .jpg is read as PNG.
REPAIRS = ("converted_to_rgb", "turned_upright", "of_another_format")
_ORIENTATION = 0x0112
_FORMATS = {".jpg": ("JPEG", "MPO"), ".jpeg": ("JPEG", "MPO"), ".png": ("PNG",)}
_CAMERA_FORMATS = ("JPEG", "MPO")
_HIGHEST = 255


def read_rgb(path: str | Path, file: BinaryIO | None = None) -> Image.Image:
    """Decode an image of any mode as upright RGB.

    Grey, palette and RGBA files, and files whose suffix does not match their format, are converted.

    Args:
        path: The image; its name in messages if `file` is given.
        file: The encoded image, if it is not in a file of its own.

    Raises:
        UserError: The file is missing, not an image or truncated, or its pixels do not fit into 8 bits.
    """
    try:
        with Image.open(path if file is None else file) as image:
            _require_bytes(image)
            # A PNG's EXIF block comes after its pixels; only JPEG cameras rotate by tag. Phones
            # append a second picture to the first, which Pillow then calls MPO.
            upright = image
            if image.format in _CAMERA_FORMATS:
                upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):
                # Pillow would clip 16-bit grey at 255, which leaves a white picture.
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            return upright.convert("RGB")
    except FileNotFoundError:
        raise UserError(f"the image {path} does not exist; complete the dataset") from None
    except Exception as error:  # Pillow raises nearly anything for damaged files.
        raise UserError(
            f"the image {path} cannot be decoded ({_reason(error)}); replace it, or take it out of the dataset"
        ) from None


def upright_size(path: Path) -> tuple[int, int]:
    """Return the width and height in pixels of an image as `read_rgb` decodes it.

    Raises:
        UserError: The file is missing or not an image.
    """
    picture = inspect(path, decode=False)
    if picture.size is None:
        raise UserError(f"the image {path} cannot be read ({picture.fault}); replace it")
    return picture.size


@dataclass(frozen=True)
class Picture:
    """The properties of an image file.

    Attributes:
        size: Width and height in pixels as decoded, upright; None if the file cannot be read.
        mode: Pillow's mode, for example `"RGB"` or `"L"`; empty if the file cannot be read.
        format: Pillow's name of the file format, for example `"JPEG"`; empty if the file cannot be read.
        fault: What is wrong with the file, or an empty string.
        repairs: The entries of `REPAIRS` that decoding needs.
    """

    size: tuple[int, int] | None
    mode: str
    format: str
    fault: str = ""
    repairs: tuple[str, ...] = ()


def inspect(path: Path, decode: bool, file: BinaryIO | None = None) -> Picture:
    """Read the header of an image and, with `decode`, all of its pixels.

    Args:
        path: The image.
        decode: Read its pixels too.
        file: The encoded image, if it is not in a file of its own.
    """
    try:
        # Huge images are allowed up to twice Pillow's limit, here as in `read_rgb`.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path if file is None else file) as picture:
                size, mode, kind = picture.size, picture.mode, picture.format or ""
                turn = picture.getexif().get(_ORIENTATION, 1) if kind in _CAMERA_FORMATS else 1
                if decode:
                    picture.load()
                    _require_bytes(picture)
    except FileNotFoundError:
        return _unreadable("the image is missing; put it there or take it off the list")
    except Exception as error:  # Pillow raises nearly anything for damaged files.
        return _unreadable(
            f"the image does not decode ({_reason(error)}); it is truncated, no image, or too large: replace it"
        )
    if turn in (5, 6, 7, 8):
        size = size[1], size[0]
    expected = _FORMATS.get(path.suffix.lower(), (kind,))
    needed = (mode != "RGB", turn in range(2, 9), kind not in expected)
    repairs = tuple(repair for repair, is_needed in zip(REPAIRS, needed, strict=True) if is_needed)
    return Picture(size, mode, kind, repairs=repairs)


def _unreadable(fault: str) -> Picture:
    return Picture(None, "", "", fault)


def _require_bytes(image: Image.Image) -> None:
    """Check that grey values of 32 bits fit into 8; Pillow would clip them to a black or a white picture.

    Raises:
        ValueError: They do not.
    """
    if image.mode not in ("F", "I"):
        return
    lowest, highest = (float(value) for value in image.getextrema())  # pyright: ignore[reportArgumentType]
    if not (lowest >= 0 and 1 < highest <= _HIGHEST):
        raise ValueError(
            f"its pixels have 32 bits and values from {lowest:g} to {highest:g}; expected 0 to {_HIGHEST}, or 8 or "
            "16 bits: scale them"
        )


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def count_repairs(all_repairs: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """Count each of `REPAIRS` over images."""
    counted = Counter(repair for repairs in all_repairs for repair in repairs)
    return {repair: counted[repair] for repair in REPAIRS}


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden and not part of the dataset; macOS and other programs create them."""
    return name.startswith(".")


def is_image(name: str) -> bool:
    """Return whether a file is an image of the dataset, by its name.

    Hidden files are not: macOS adds a file ._x to an archive for each file x.
    """
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not is_hidden(name)


def images_below(folder: Path) -> Iterator[Path]:
    """Yield the images in a folder, at any depth, in the order of torchvision's ImageFolder."""
    yield from map(Path, image_files(folder))


def image_files(folder: Path) -> Iterator[str]:
    """Yield the paths of `images_below` as text: building a million `Path` objects takes seconds."""
    for parent, _, names in sorted(os.walk(folder, followlinks=True)):
        if not any(map(is_hidden, Path(parent).relative_to(folder).parts)):
            yield from (os.path.join(parent, name) for name in sorted(names) if is_image(name))


def map_threaded(
    function: Callable[[Item], Outcome], items: Sequence[Item], progress: Progress | None = None
) -> Iterable[Outcome]:
    """Yield `function(item)` for every item, in order.

    Threads are enough, because Pillow decodes without holding the interpreter lock.

    Args:
        function: Called from several threads.
        items: Its arguments.
        progress: Called from time to time with the number of items done and the total.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, outcome in enumerate(pool.map(function, items), start=1):
            if progress is not None and (done % 100 == 0 or done == len(items)):
                progress(done, len(items))
            yield outcome
