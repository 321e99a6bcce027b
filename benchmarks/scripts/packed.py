"""Compare an image folder, its smaller copy and its packed form: files, bytes, speed, memory.

Command: python -m benchmarks.scripts.packed [--images N] [--listed N]

The images are generated: four in five have 500×375 pixels, as most of ImageNet's, one in five 1,400×1,050. Before each
reading from disk, the kernel drops the files from its cache. A local disk hides what a network file system makes slow,
a round trip for each file, so the files opened are counted too.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from contract.settings import ROOT
from datasets import listing
from datasets.convert.pack import pack
from datasets.convert.shrink import Settings, shrink
from datasets.fingerprint import fingerprint
from datasets.layouts.imagefolder import Folder
from datasets.samples import Samples
from datasets.texts import Texts
from engine.image_folder import ImageFolderDataset
from engine.runner.seeding import SeededDataset, SeededSampler

CLASSES = 10
SHORT_SIDE, QUALITY, SHARD_MIB = 384, 90, 16
PIPELINE = (dict(type="RandomResizedCrop", size=224), dict(type="RandomHorizontalFlip"))
# The training images of ImageNet.
LISTED = 1_281_167
_opened: list[str] = []


def main() -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scripts.packed", description=__doc__
    )
    parser.add_argument("--images", type=int, default=1500, help="training images (default: 1500)")
    parser.add_argument("--listed", type=int, default=LISTED, help="paths of the memory table")
    options = parser.parse_args()
    console = Console(highlight=False, width=140)
    sys.addaudithook(
        lambda event, values: _opened.append(str(values[0])) if event == "open" else None
    )
    (ROOT / "runs").mkdir(exist_ok=True)
    # Not in /tmp, which can be in memory.
    with tempfile.TemporaryDirectory(dir=ROOT / "runs") as folder:
        forms = _forms(Path(folder), options.images)
        console.print(_speeds(forms))
        console.print(_questions(forms["folder"]))
    console.print(_memory(options.listed))
    return 0


def _forms(root: Path, count: int) -> dict[str, Path]:
    """Make the three forms of one data set."""
    source = root / "folder"
    generator = np.random.default_rng(0)
    for number in range(count + CLASSES):
        split = "val" if number < CLASSES else "train"
        path = source / split / f"class{number % CLASSES}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (1400, 1050) if number % 5 == 0 else (500, 375)
        coarse = generator.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path, quality=92)
    quiet = Console(file=io.StringIO())
    shrink(source, root / "smaller", Settings(SHORT_SIDE, QUALITY), quiet)
    pack(source, root / "packed", quiet, shard_mib=SHARD_MIB)
    pack(root / "smaller", root / "smaller-packed", quiet, shard_mib=SHARD_MIB)
    return {
        "folder": source,
        "smaller": root / "smaller",
        "packed": root / "packed",
        "smaller and packed": root / "smaller-packed",
    }


def _speeds(forms: dict[str, Path]) -> Table:
    columns = ("form", "bytes", "files", "opened in an epoch", "read from disk, images/s")
    title = "An epoch of the training split, in its order, by one process"
    table = Table(*columns, "decoded and cropped, images/s of a core", title=title)
    for name, root in forms.items():
        files = [path for path in (root / "train").rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        dataset = SeededDataset(ImageFolderDataset(str(root / "train"), PIPELINE), seed=0)  # pyright: ignore[reportArgumentType]
        order = list(SeededSampler(dataset, seed=0))
        samples = dataset.dataset.samples  # pyright: ignore[reportAttributeAccessIssue]
        _forget(files)
        _opened.clear()
        started = time.perf_counter()
        for index in order:
            samples.read(index)
        cold = len(order) / (time.perf_counter() - started)
        opened = sum(path.startswith(str(root)) for path in _opened)
        started = time.process_time()
        for position in order:
            dataset[position]
        warm = len(order) / (time.process_time() - started)
        table.add_row(
            name, decimal(size), str(len(files)), str(opened), f"{cold:.0f}", f"{warm:.0f}"
        )
    return table


def _forget(files: Sequence[Path]) -> None:
    """Let the kernel drop files from its cache."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _questions(root: Path) -> Table:
    """Count what a command and its runs ask the file system."""
    table = Table(
        "who asks", "stat", "scandir", title="Questions about the folder to the file system"
    )
    an_hour_ago = time.time() - 3600
    for parent, _, _ in os.walk(root):
        os.utime(parent, (an_hour_ago, an_hour_ago))
    with tempfile.TemporaryDirectory() as cache, mock.patch.object(listing, "MANY_FILES", 1000):
        rows: list[tuple[str, Callable[[], Any], str]] = [
            ("first command", lambda: fingerprint("imagefolder", root, cache_dir=Path(cache)), ""),
            ("later command", lambda: fingerprint("imagefolder", root, cache_dir=Path(cache)), ""),
            ("run by hand", Folder(root / "train").samples, ""),
            ("run of a command", Folder(root / "train").samples, cache),
        ]
        for who, ask, variable in rows:
            with mock.patch.dict(os.environ, {listing.VARIABLE: variable}), _counting() as counted:
                ask()
            table.add_row(who, str(counted["stat"]), str(counted["scandir"]))
    return table


@contextmanager
def _counting() -> Iterator[Counter[str]]:
    counted: Counter[str] = Counter()

    def counting(name: str) -> Any:
        function = getattr(os, name)

        def ask(*arguments: Any, **named: Any) -> Any:
            counted[name] += 1
            return function(*arguments, **named)

        return mock.patch.object(os, name, ask)

    with counting("stat"), counting("scandir"):
        yield counted


def _memory(count: int) -> Table:
    """Measure the memory that a loader worker copies by touching every entry of the list of images."""
    table = Table(
        "list", "process", "copied by each worker", title=f"Memory of a list of {count:,} images"
    )
    names = (f"n{i % 1000:08d}/n{i % 1000:08d}_{i // 1000:05d}.JPEG" for i in range(count))
    labels = np.arange(count, dtype=np.int32) % 1000
    before = _mib("Rss")
    root = Path("/data/imagenet/train")
    held = Samples(root, Texts.of(names), labels)
    size = _mib("Rss") - before
    table.add_row("arrays", f"{size:.0f} MiB", f"{_touched(held):.0f} MiB")
    before = _mib("Rss")
    pairs = [(held.path(index), held.label(index)) for index in range(count)]
    size = _mib("Rss") - before
    table.add_row("pairs of path and label", f"{size:.0f} MiB", f"{_touched(pairs):.0f} MiB")
    return table


def _touched(samples: Any) -> float:
    """Return the MiB that a forked process copies by reading every entry."""
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        before = _mib("Private_Dirty")
        if isinstance(samples, Samples):
            for index in range(len(samples)):
                _use(samples.path(index), samples.label(index))
        else:
            for path, label in samples:
                _use(path, label)
        os.write(ends[1], f"{_mib('Private_Dirty') - before}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    text = os.read(ends[0], 100).decode()
    os.close(ends[0])
    os.close(ends[1])
    return float(text)


def _use(path: str, label: int) -> None:
    """Take the two as arguments, which counts references to them."""


def _mib(field: str) -> float:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/smaps_rollup has no {field}")


if __name__ == "__main__":
    sys.exit(main())
