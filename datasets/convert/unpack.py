"""`data unpack`: write a packed data set as the image folder that it was, byte by byte."""

from __future__ import annotations

import os
import shutil
import tarfile
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.filesize import decimal

from contract.errors import UserError
from datasets.convert.staging import require_apart, staged
from datasets.convert.workers import map_in_processes
from datasets.layouts import imagefolder
from datasets.packed.index import MARKER, REST, is_packed
from datasets.packed.part import Packed, PackedSamples
from datasets.prepare.progress import Announcer
from datasets.prepare.space import folder_bytes, on_disk, require_space


def unpack(source: Path, target: Path, console: Console, *, processes: int = 1) -> None:
    """Write an image folder from its packed form.

    Args:
        source: The packed folder.
        target: The new folder.
        console: Where to print.
        processes: How many processes write files.

    Raises:
        UserError: The source is not packed or damaged, the target exists, or the disk is too small.
    """
    if not is_packed(source):
        raise UserError(
            f"{source} has no {MARKER}, so it is no packed dataset; `python -m benchmarks data pack` makes one"
        )
    require_apart(source, target)
    announcer = Announcer(console)
    splits = {name: Packed(source / name).samples() for name in imagefolder.SPLITS}
    sizes = [part.places.size for part in splits.values()]
    total = sum(int(each.sum()) for each in sizes)
    needed = sum(sum(map(on_disk, each.tolist())) for each in sizes)
    with staged(target, {"unpack": str(source.resolve())}) as folder:
        require_space(folder, max(0, needed - folder_bytes(folder)), "Unpacking", "as DST")
        done = 0
        with announcer.bar(f"Unpacking {source.name}", total) as bar:
            for name in splits:
                index = splits[name].places
                write = partial(_write_shard, str(source / name), str(folder / name))
                shards = range(len(index.shard_bytes))
                for size in map_in_processes(write, shards, processes):
                    done += size
                    bar.at(done)
        _unpack_rest(source / REST, folder)
    images = sum(map(len, splits.values()))
    announcer.say(f"{target}: {images} images, {decimal(total)}.")


def _write_shard(source: str, target: str, shard: int) -> int:
    """Write the images of a shard that are not there yet; return their bytes."""
    samples = _samples(source)
    index = samples.places
    inside = np.flatnonzero(index.shard == shard)
    done = 0
    for number in inside[np.argsort(index.offset[inside])].tolist():
        name = samples.names[number]
        path = os.path.join(target, name)
        if not _is_inside(name):
            raise UserError(
                f"{source} holds an image named {name!r}, which lies outside the dataset; pack the data again"
            )
        size = int(index.size[number])
        done += size
        if os.path.isfile(path) and os.path.getsize(path) == size:
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # No flush to the disk for each of a million files: after a power cut, the size tells.
        with open(f"{path}.partial", "wb") as file:
            file.write(samples.read(number))
        os.replace(f"{path}.partial", path)
    return done


@lru_cache(maxsize=1)
def _samples(folder: str) -> PackedSamples:
    """Return the samples of a split, whose index a process reads once."""
    return Packed(Path(folder)).samples()


def _unpack_rest(archive: Path, folder: Path) -> None:
    if not archive.is_file():
        raise UserError(f"{archive} is missing; copy it again")
    with tarfile.open(archive) as members:
        for member in members:
            name = member.name
            if not (member.isfile() and _is_inside(name)):
                raise UserError(f"{archive} holds {name!r}, which is no plain file in the dataset")
            content = members.extractfile(member)
            assert content is not None
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                shutil.copyfileobj(content, file)


def _is_inside(name: str) -> bool:
    return not os.path.isabs(name) and ".." not in name.split("/")
