"""`data pack`: write an image folder as tar shards with an index.

The shards are written by `tarfile` of the standard library. webdataset's `ShardWriter` writes the same format, but says
neither where a sample starts nor how long a shard gets; here both are known before the first byte, so shards are
written in parallel, and an interrupted command keeps the finished ones.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from rich.console import Console
from rich.filesize import decimal

from contract.errors import UserError
from contract.files import write_bytes, write_json
from datasets.convert.staging import require_apart, staged
from datasets.convert.workers import map_in_processes
from datasets.layouts import imagefolder
from datasets.made import MADE_FILE
from datasets.packed.index import FORMAT, MARKER, REST, Index, is_packed, shard_name
from datasets.prepare.progress import Announcer
from datasets.prepare.space import require_space
from datasets.samples import Samples

MIB = 2**20
_BLOCK = tarfile.BLOCKSIZE
_TAR_FORMAT = tarfile.GNU_FORMAT


@dataclass(frozen=True, slots=True)
class Member:
    """A sample in a shard.

    Attributes:
        path: The image.
        key: What WebDataset calls it.
        suffix: Of the image, without the dot.
        size: The image's bytes.
        label: The index of its class.
    """

    path: str
    key: str
    suffix: str
    size: int
    label: int

    def head(self) -> tarfile.TarInfo:
        """Return the image's header."""
        return _header(f"{self.key}.{self.suffix}", self.size)

    def tail(self) -> bytes:
        """Return the label as WebDataset reads it, with its header."""
        text = str(self.label).encode()
        return _encoded(_header(f"{self.key}.cls", len(text))) + _padded(text)


def pack(
    source: Path, target: Path, console: Console, *, shard_mib: int = 256, processes: int = 1
) -> None:
    """Write a packed copy of an image folder.

    Args:
        source: The folder with `train` and `val`.
        target: The new folder.
        console: Where to print.
        shard_mib: Size of a shard in MiB; its last sample reaches over it.
        processes: How many processes write shards.

    Raises:
        UserError: The source is no image folder or is packed, the target exists, or the disk is too small.
    """
    if is_packed(source):
        raise UserError(f"{source} is packed already")
    require_apart(source, target)
    classes = imagefolder.classes(source)
    announcer = Announcer(console)
    announcer.say(f"Listing {source}")
    parts = {name: _Plan.of(source / name, classes, shard_mib * MIB) for name in imagefolder.SPLITS}
    rest = _rest(source)
    total = sum(int(part.shard_bytes.sum()) for part in parts.values())
    plan = {"pack": str(source.resolve()), "shard_mib": shard_mib}
    with staged(target, plan) as folder:
        _require_room(folder, parts, total + sum(path.stat().st_size for path in rest))
        splits: dict[str, Any] = {}
        with announcer.bar(f"Packing {source.name}", total) as bar:
            done = 0
            for name, part in parts.items():
                (folder / name).mkdir(exist_ok=True)
                write = partial(_write_shard, str(folder / name))
                for size in map_in_processes(write, list(part.shards()), processes):
                    done += size
                    bar.at(done)
                index = part.index()
                splits[name] = {
                    "index": index.save(folder / name),
                    "images": len(index),
                    "shards": len(index.shard_bytes),
                }
        _write_rest(source, rest, folder / REST)
        if (source / MADE_FILE).is_file():
            write_bytes(folder / MADE_FILE, (source / MADE_FILE).read_bytes())
        content = {"format": FORMAT, "classes": list(classes), "splits": splits}
        write_json(folder / MARKER, content)
    images = sum(entry["images"] for entry in splits.values())
    shards = sum(entry["shards"] for entry in splits.values())
    others = f"; {len(rest)} other files in {REST}" if rest else ""
    announcer.say(f"{target}: {images} images in {shards} shards, {decimal(total)}{others}.")


class _Plan:
    """Where each sample of a split goes."""

    def __init__(
        self, samples: Samples, members: list[Member], order: np.ndarray, most: int
    ) -> None:
        self.samples = samples
        self.members = members
        self.order = order
        count = len(members)
        self.shard = np.zeros(count, np.int32)
        self.offset = np.zeros(count, np.int64)
        ends: list[int] = []
        position = 0
        for index in order.tolist():
            member = members[index]
            if position >= most:
                ends.append(position)
                position = 0
            self.shard[index] = len(ends)
            self.offset[index] = position + len(_encoded(member.head()))
            position = int(self.offset[index]) + _round_up(member.size) + len(member.tail())
        # A tar file ends with two empty blocks, filled up to a record.
        self.shard_bytes = np.asarray(
            [
                -(-(end + 2 * _BLOCK) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE
                for end in (*ends, position)
            ],
            np.int64,
        )

    @classmethod
    def of(cls, folder: Path, classes: Sequence[str], most: int) -> _Plan:
        """Plan a split.

        Raises:
            UserError: It has other classes than the training split, or a class without an image.
        """
        split = imagefolder.Folder(folder)
        if split.classes() != tuple(classes):
            odd = sorted(set(split.classes()) ^ set(classes))
            raise UserError(
                f"{folder} has other class folders than train (for example {odd[:3]}); both splits need the same ones"
            )
        samples = split.samples()
        members = list(_members(samples))
        order = np.arange(len(members))
        if folder.name == "train":
            # Training shuffles within a few shards, so each shard needs images of all classes.
            np.random.default_rng(0).shuffle(order)
        return cls(samples, members, order, most)

    def shards(self) -> Iterator[tuple[int, list[Member], int]]:
        """Yield number, samples and size of each shard."""
        inside: list[list[Member]] = [[] for _ in self.shard_bytes]
        for index in self.order.tolist():
            inside[self.shard[index]].append(self.members[index])
        for number, members in enumerate(inside):
            yield number, members, int(self.shard_bytes[number])

    def index(self) -> Index:
        """Return the index."""
        sizes = np.asarray([member.size for member in self.members], np.int64)
        return Index(
            self.shard,
            self.offset,
            sizes,
            self.samples.labels,
            self.samples.names,
            self.shard_bytes,
        )


def _members(samples: Samples) -> Iterator[Member]:
    keys: set[str] = set()
    for index in range(len(samples)):
        name, path = samples.names[index], samples.path(index)
        stem, suffix = os.path.splitext(name)
        # WebDataset takes the name up to its first dot as the key.
        key = quote(os.fsencode(stem), safe="/ !#$&'()+,;=@[]^_`{}~").replace(".", "%2E")
        while key in keys:
            key += "%20"
        keys.add(key)
        yield Member(path, key, suffix[1:], os.stat(path).st_size, samples.label(index))


def _write_shard(folder: str, shard: tuple[int, list[Member], int]) -> int:
    """Write a shard that is not there yet; return its size."""
    number, members, size = shard
    path = os.path.join(folder, shard_name(number))
    if os.path.isfile(path) and os.path.getsize(path) == size:
        return size
    partial_path = f"{path}.partial"
    with open(partial_path, "wb") as file:
        for member in members:
            content = Path(member.path).read_bytes()
            if len(content) != member.size:
                raise UserError(
                    f"{member.path} changed while it was packed: it has {len(content)} bytes and had {member.size}; "
                    "run the same command again when nothing writes to the dataset"
                )
            file.write(_encoded(member.head()))
            file.write(_padded(content))
            file.write(member.tail())
        file.write(bytes(size - file.tell()))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial_path, path)
    return size


def _rest(source: Path) -> list[Path]:
    """Return the files that are no images of the dataset; a packed folder keeps them too."""
    images = set()
    for split in imagefolder.SPLITS:
        images.update(map(str, imagefolder.Folder(source / split).images()))
    found = []
    for parent, _, names in os.walk(source, followlinks=True):
        found += [Path(parent, name) for name in sorted(names)]
    return [path for path in found if str(path) not in images and path.is_file()]


def _write_rest(source: Path, paths: list[Path], target: Path) -> None:
    unfinished = target.with_name(f"{target.name}.partial")
    with tarfile.open(unfinished, mode="w", format=_TAR_FORMAT) as archive:
        for path in paths:
            name, size = path.relative_to(source).as_posix(), path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(_header(name, size), file)
    os.replace(unfinished, target)


def _require_room(folder: Path, parts: dict[str, _Plan], total: int) -> None:
    """Check for space, without what an interrupted command has written."""
    written = sum(path.stat().st_size for name in parts for path in (folder / name).glob("*.tar"))
    require_space(folder, max(0, total - written), "Packing", "as DST")


def _header(name: str, size: int) -> tarfile.TarInfo:
    """Return a header without times and owners, so that equal images give equal shards."""
    header = tarfile.TarInfo(name)
    header.size = size
    header.mode = 0o644
    return header


def _encoded(header: tarfile.TarInfo) -> bytes:
    return header.tobuf(_TAR_FORMAT, tarfile.ENCODING, "surrogateescape")


def _padded(content: bytes) -> bytes:
    return content + bytes(_round_up(len(content)) - len(content))


def _round_up(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
