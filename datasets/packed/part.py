"""One split of a packed data set, with the interface of `datasets.layouts.imagefolder.Folder`."""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from contract.errors import UserError
from datasets.images import read_rgb
from datasets.packed.index import MARKER, Index, read_index, read_marker, shard_name
from datasets.samples import Samples

# Shards that a process keeps open: those of a window of the training order, and some for testing.
MOST_OPEN = 16
# Linux reads at most its read-ahead window for one request, which is 128 KiB by default.
_READ_AHEAD_BYTES = 128 * 1024


class Shards:
    """Reads from the shards of a split at offsets.

    Forked processes may share the open files, since `pread` uses no file position. The first read of a shard asks the
    kernel to load all of it in order, because its samples are needed soon, in another order.

    Args:
        folder: The split's folder.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._open: OrderedDict[int, int] = OrderedDict()
        # The check reads in threads; none may close a file that another one reads.
        self._lock = threading.Lock()

    def read(self, shard: int, offset: int, size: int, ahead: bool = True) -> bytes:
        """Return bytes of a shard.

        Args:
            shard: Its number.
            offset: The first byte.
            size: How many bytes.
            ahead: Load the whole shard if it was not open.

        Raises:
            UserError: The shard is missing or too short.
        """
        with self._lock:
            content = os.pread(self._descriptor(shard, ahead), size, offset)
        if len(content) != size:
            raise UserError(
                f"the shard {self.path(shard)} ends before byte {offset + size}; copy it again, or pack the data again"
            )
        return content

    def path(self, shard: int) -> str:
        """Return the file of a shard."""
        return os.path.join(self.folder, shard_name(shard))

    def _descriptor(self, shard: int, ahead: bool) -> int:
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        if len(self._open) >= MOST_OPEN:
            os.close(self._open.popitem(last=False)[1])
        try:
            descriptor = os.open(self.path(shard), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise UserError(
                f"the shard {self.path(shard)} does not exist; copy it again, or pack the data again"
            ) from None
        self._open[shard] = descriptor
        if ahead:
            _load_ahead(descriptor)
        return descriptor

    def close(self) -> None:
        """Close the files."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __getstate__(self) -> dict[str, str]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__init__(state["folder"])

    def __del__(self) -> None:
        self.close()


def _load_ahead(descriptor: int) -> None:
    """Ask the kernel to load a file in order; it does not wait for the disk."""
    if not hasattr(os, "posix_fadvise"):
        return
    for start in range(0, os.fstat(descriptor).st_size, _READ_AHEAD_BYTES):
        os.posix_fadvise(descriptor, start, _READ_AHEAD_BYTES, os.POSIX_FADV_WILLNEED)


class PackedSamples(Samples):
    """The images of one split in the order of the folder that was packed.

    Args:
        folder: The split's folder.
        index: Its index.
    """

    def __init__(self, folder: Path, index: Index) -> None:
        super().__init__(folder, index.names, index.label)
        self.places = index
        self.shards = Shards(str(folder))
        self.blocks = index.shard

    def read(self, index: int) -> bytes:
        """Return the encoded image.

        Raises:
            UserError: Its shard is missing or too short.
        """
        where = self.places
        return self.shards.read(
            int(where.shard[index]), int(where.offset[index]), int(where.size[index])
        )

    def decode(self, index: int) -> Image.Image:
        """Return the decoded image, upright and RGB.

        Raises:
            UserError: See `datasets.images.read_rgb`.
        """
        return read_rgb(self.described(index), io.BytesIO(self.read(index)))

    def described(self, index: int) -> str:
        """Return an image's path and shard, for messages."""
        return f"{self.path(index)} in {shard_name(int(self.places.shard[index]))}"


@dataclass(frozen=True)
class PackedContent:
    """An encoded image in a shard.

    Attributes:
        samples: The images of its split.
        index: Its number.
    """

    samples: PackedSamples
    index: int

    @property
    def path(self) -> Path:
        """The path that it had in the folder."""
        return Path(self.samples.path(self.index))

    def size(self) -> int:
        """Return its bytes."""
        return int(self.samples.places.size[self.index])

    def read(self) -> bytes:
        """Return it."""
        return self.samples.read(self.index)


@dataclass(frozen=True)
class Packed:
    """The images of one split.

    Attributes:
        folder: Contains the shards and their index.
    """

    folder: Path

    @cached_property
    def _samples(self) -> PackedSamples:
        return PackedSamples(self.folder, read_index(self.folder))

    def classes(self) -> tuple[str, ...]:
        """Return the classes in the order of the labels.

        Raises:
            UserError: `packed.json` is damaged.
        """
        names = read_marker(self.folder.parent).get("classes")
        if not isinstance(names, list) or not names:
            raise UserError(f"{self.folder.parent / MARKER} names no classes; pack the data again")
        return tuple(map(str, names))

    def samples(self) -> PackedSamples:
        """Return the images with the index of their class, class by class.

        Raises:
            UserError: The index or a shard is missing or damaged.
        """
        return self._samples

    def images(self) -> list[Path]:
        """Return the paths that the images had in the folder; there are no such files."""
        return [Path(self._samples.path(index)) for index in range(len(self._samples))]

    def contents(self) -> list[PackedContent]:
        """Return the encoded images."""
        return [PackedContent(self._samples, index) for index in range(len(self._samples))]

    def names(self) -> list[str]:
        """Return the names of the images without folder and suffix."""
        return [image.stem for image in self.images()]


class Slice(io.RawIOBase):
    """A part of a shard as a file, of which only what is asked for is read.

    Args:
        samples: The images.
        index: The image.
    """

    def __init__(self, samples: PackedSamples, index: int) -> None:
        where = samples.places
        self._shards = samples.shards
        self._shard = int(where.shard[index])
        self._start, self._size = int(where.offset[index]), int(where.size[index])
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Read into a buffer."""
        count = max(0, min(len(buffer), self._size - self._position))
        content = self._shards.read(self._shard, self._start + self._position, count, ahead=False)
        buffer[:count] = content
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, as files do."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position
