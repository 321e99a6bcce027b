"""`data shrink`: write a smaller copy of an image folder."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.filesize import decimal

from contract.errors import UserError
from contract.files import write_json
from datasets.convert.staging import require_apart, staged
from datasets.convert.workers import map_in_processes
from datasets.fingerprint import fingerprint
from datasets.images import read_rgb
from datasets.layouts import imagefolder
from datasets.made import MADE_FILE, describe
from datasets.packed.index import is_packed
from datasets.prepare.progress import Announcer
from datasets.prepare.space import folder_bytes, on_disk, require_space

# Images that a process converts before it reports.
_CHUNK = 64
# Images converted in memory to estimate the size of the result, and how much more is asked for.
_ESTIMATED_IMAGES = 64
_MARGIN = 1.1
_JPEG_SUFFIXES = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Settings:
    """How images are made smaller.

    Attributes:
        short_side: Largest short side in pixels of the result.
        quality: Quality of the JPEG files, 1 to 95.
    """

    short_side: int
    quality: int


@dataclass(frozen=True)
class Outcome:
    """What became of some images.

    Attributes:
        before: Their bytes.
        after: Their bytes in the copy.
        resized: How many were made smaller; the others were copied.
        problems: A sentence for each image that could not be read.
    """

    before: int
    after: int
    resized: int
    problems: tuple[str, ...]


def shrink(
    source: Path, target: Path, settings: Settings, console: Console, *, processes: int = 1
) -> int:
    """Write a smaller copy of an image folder.

    An image whose short side is larger than `settings.short_side` is resized and stored as JPEG; every other file is
    copied.

    Args:
        source: The folder with `train` and `val`.
        target: The new folder.
        settings: Size and quality.
        console: Where to print.
        processes: How many processes convert images.

    Returns:
        The exit status: 0, or 2 if images could not be read; the rest is kept for the next call.

    Raises:
        UserError: The source is no image folder or is packed, the target exists, or the disk is too small.
    """
    if is_packed(source):
        raise UserError(
            f"{source} is packed; unpack it first with `python -m benchmarks data unpack`, or shrink the folder that "
            "it was made from"
        )
    require_apart(source, target)
    imagefolder.splits(source)
    announcer = Announcer(console)
    pairs = list(_pairs(source))
    plan = {
        "shrink": str(source.resolve()),
        "short_side": settings.short_side,
        "quality": settings.quality,
    }
    try:
        with staged(target, plan) as folder:
            needed = _estimate([path for path, _ in pairs], settings)
            missing = max(0, needed - folder_bytes(folder))
            require_space(folder, missing, "The smaller copy (estimated)", "as DST")
            found = _convert(source, folder, pairs, settings, announcer, processes)
            if found.problems:
                raise _Unread(found.problems)
            _copy_rest(source, folder, {str(path) for path, _ in pairs})
            note = {
                "command": "data shrink",
                "short_side": settings.short_side,
                "quality": settings.quality,
                "filter": "Lanczos",
                "pillow": metadata.version("pillow"),
                "source": fingerprint("imagefolder", source),
                "before": describe(source),
            }
            write_json(folder / MADE_FILE, note)
    except _Unread as unread:
        announcer.say("\n".join(unread.problems))
        announcer.say(
            f"{len(unread.problems)} of {len(pairs)} images of {source} could not be read. The others are converted "
            f"and kept: replace or remove these, and run the same command again to make {target}."
        )
        return 2
    announcer.say(
        f"{target}: {len(pairs)} images, {found.resized} of them smaller; {decimal(found.before)} before, "
        f"{decimal(found.after)} after."
    )
    return 0


class _Unread(Exception):
    """Images could not be read."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__()
        self.problems = problems


def smaller(path: Path, settings: Settings) -> bytes | None:
    """Return an image as a smaller JPEG file; None if it is small enough already.

    Raises:
        UserError: It cannot be read.
    """
    image = read_rgb(path)
    short = min(image.size)
    if short <= settings.short_side:
        return None
    width, height = (max(1, round(side * settings.short_side / short)) for side in image.size)
    # Pillow's filters are antialiased: they cover all pixels of the original.
    resized = image.resize((width, height), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    resized.save(content, "JPEG", quality=settings.quality)
    return content.getvalue()


def _pairs(source: Path) -> Iterator[tuple[Path, str]]:
    """Yield each image with its name as a JPEG file in the copy, relative to the folder.

    Another suffix becomes `.jpg`, or is kept in front of it if that name is taken.
    """
    for split in imagefolder.SPLITS:
        images = imagefolder.Folder(source / split).images()
        taken = {str(image) for image in images}
        for image in images:
            named = image
            if image.suffix.lower() not in _JPEG_SUFFIXES:
                named = image.with_suffix(".jpg")
                if str(named) in taken:
                    named = image.with_name(f"{image.name}.jpg")
                taken.add(str(named))
            yield image, named.relative_to(source).as_posix()


def _convert(
    source: Path,
    folder: Path,
    pairs: list[tuple[Path, str]],
    settings: Settings,
    announcer: Announcer,
    processes: int,
) -> Outcome:
    chunks = [pairs[start : start + _CHUNK] for start in range(0, len(pairs), _CHUNK)]
    convert = partial(_convert_chunk, source, folder, settings)
    total = sum(path.stat().st_size for path, _ in pairs)
    before = after = resized = 0
    problems: list[str] = []
    with announcer.bar(f"Shrinking {source.name}", total) as bar:
        for outcome in map_in_processes(convert, chunks, processes):
            before += outcome.before
            after += outcome.after
            resized += outcome.resized
            problems += outcome.problems
            bar.at(before)
    return Outcome(before, after, resized, tuple(sorted(problems)))


def _convert_chunk(
    source: Path, folder: Path, settings: Settings, pairs: Sequence[tuple[Path, str]]
) -> Outcome:
    before = after = resized = 0
    problems = []
    for path, name in pairs:
        before += path.stat().st_size
        converted, copied = folder / name, folder / path.relative_to(source)
        try:
            made = _existing(converted, copied) or _write(path, converted, copied, settings)
        except UserError as error:
            problems.append(str(error))
            continue
        after += made.stat().st_size
        resized += made.stat().st_size != path.stat().st_size
    return Outcome(before, after, resized, tuple(problems))


def _existing(*paths: Path) -> Path | None:
    """Return the file of an earlier call."""
    return next((path for path in paths if path.is_file()), None)


def _write(path: Path, converted: Path, copied: Path, settings: Settings) -> Path:
    """Write a smaller image, or copy it; return the new file.

    Raises:
        UserError: The image cannot be read.
    """
    content = smaller(path, settings)
    target = copied if content is None else converted
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not flushed to the disk: that would double the time. A file appears when it is complete.
    partial_path = target.with_name(f".{target.name}.partial")
    if content is None:
        shutil.copyfile(path, partial_path)
    else:
        partial_path.write_bytes(content)
    os.replace(partial_path, target)
    return target


def _estimate(images: list[Path], settings: Settings) -> int:
    """Estimate the bytes of the result on disk from some images, evenly spaced."""
    count = min(len(images), _ESTIMATED_IMAGES)
    chosen = [images[number * len(images) // count] for number in range(count)]
    total = 0
    for path in chosen:
        try:
            content = smaller(path, settings)
        except UserError:
            content = None
        total += on_disk(path.stat().st_size if content is None else len(content))
    return round(_MARGIN * total / count * len(images))


def _copy_rest(source: Path, folder: Path, images: set[str]) -> None:
    """Copy the files that are no images of the dataset, except a note on an earlier conversion."""
    for parent, _, names in os.walk(source, followlinks=True):
        for name in names:
            path = Path(parent, name)
            if str(path) not in images and path.is_file() and path != source / MADE_FILE:
                target = folder / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
