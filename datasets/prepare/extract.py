"""Unpack untrusted archives; a killed process leaves no incomplete files.

The datasets contain only plain files and folders. Therefore every link is refused, even one inside the folder, and a
link cannot hide a path out of the folder.

pooch's `Untar` and `Unzip` cannot replace this module. They unpack in place: an interrupted preparation would leave
an incomplete dataset or start again. They accept links, use the paths of the archive, and do not open the thousand
archives inside ImageNet's.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from contract.errors import UserError
from datasets.prepare.space import folder_bytes, on_disk

Advance = Callable[[int], None]
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error)


@dataclass(frozen=True)
class Item:
    """A plain file in an archive.

    Attributes:
        name: Its path, with forward slashes and without a leading `./`.
        size_bytes: Its size, unpacked.
        open: Opens it; valid only until the next item is requested.
    """

    name: str
    size_bytes: int
    open: Callable[[], IO[bytes]]


class Staging:
    """The hidden folder in which a dataset is assembled.

    Args:
        folder: The hidden folder; `target` inside it is renamed at the end.
        name: The name of the finished folder.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.target = folder / name
        self._partial = folder / "partial"

    def used_bytes(self) -> int:
        """Return the number of bytes that an interrupted preparation has written."""
        return folder_bytes(self.target)

    def has(self, relative: str) -> bool:
        """Return whether a file exists; it is then complete, because files are renamed when they are complete."""
        return (self.target / relative).is_file()

    def put(self, relative: str, size_bytes: int, source: Callable[[], IO[bytes]]) -> None:
        """Write a file, unless a complete one of this size exists.

        Args:
            relative: Its path in the dataset.
            size_bytes: Its size.
            source: Opens its content.
        """
        parts = PurePosixPath(relative).parts
        if not parts or parts[0] == "/" or ".." in parts:
            raise ValueError(f"{relative!r} is no path inside of a dataset")
        path = self.target / relative
        if path.is_file() and path.stat().st_size == size_bytes:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with source() as content, self._partial.open("wb") as file:
            shutil.copyfileobj(content, file, 2**20)
        os.replace(self._partial, path)


@dataclass(frozen=True)
class Unpack:
    """The step that unpacks the files of one archive.

    Attributes:
        archive: A `.zip`, or a tar with or without compression.
        place: Maps a file's name to its path in the dataset; None skips it.
        nested: The members are tars; their files are named `STEM_OF_THE_TAR/NAME`.
    """

    archive: Path
    place: Callable[[str], str | None]
    nested: bool = False

    @property
    def title(self) -> str:
        """The title of the progress bar."""
        return f"Unpacking {self.archive.name}"

    def measure(self) -> int:
        """Return the bytes on disk that it needs; raise if the archive is unsafe or damaged.

        Tars inside a tar are measured by their own sizes, which are about the same: reading the million headers
        inside ImageNet's archives would read the whole disk content once more.

        Raises:
            UserError: A member is refused, or the archive is damaged.
        """
        with _readable(self.archive):
            return sum(
                on_disk(item.size_bytes)
                for item in items(self.archive)
                if self.nested or self.place(item.name) is not None
            )

    def write(self, staging: Staging, advance: Advance) -> None:
        """Write the missing files.

        Raises:
            UserError: A member is refused, or the archive is damaged.
        """
        with _readable(self.archive):
            for item in items(self.archive, nested=self.nested):
                relative = self.place(item.name)
                if relative is not None:
                    staging.put(relative, item.size_bytes, item.open)
                    advance(on_disk(item.size_bytes))


def read_files(archive: Path, wanted: Container[str]) -> dict[str, bytes]:
    """Return the content of some small files of an archive, by name.

    Raises:
        UserError: A member is refused, or the archive is damaged.
    """
    found: dict[str, bytes] = {}
    with _readable(archive):
        for item in items(archive):
            if item.name in wanted:
                with item.open() as file:
                    found[item.name] = file.read()
    return found


def items(archive: Path, *, nested: bool = False) -> Iterator[Item]:
    """Yield the files of an archive in its order.

    Raises:
        UserError: A member is a link or a device, or its path is absolute or leaves the folder.
    """
    if not hasattr(tarfile, "data_filter"):
        raise UserError(
            "this Python's tarfile can't refuse unsafe archives: use 3.10.12, 3.11.4, 3.12 or later."
        )
    if archive.suffix == ".zip":
        yield from _zip_items(archive)
        return
    with tarfile.open(archive) as tar:
        yield from _tar_items(tar, archive.name, nested)


def _tar_items(tar: tarfile.TarFile, label: str, nested: bool, prefix: str = "") -> Iterator[Item]:
    while (member := tar.next()) is not None:
        # tarfile keeps every header; a million of them would fill the memory.
        tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
        if member.issym() or member.islnk():
            raise _refused(label, member.name, f"is a link to {member.linkname!r}")
        if not (member.isreg() or member.isdir()):
            raise _refused(label, member.name, "is a device or a pipe")
        name = _checked_name(label, member.name)
        if member.isdir():
            continue
        if nested and name.endswith(".tar"):
            with tarfile.open(fileobj=_opened(tar, member, label), mode="r:") as inner:
                inner_prefix = f"{PurePosixPath(name).stem}/"
                yield from _tar_items(inner, f"{label}/{name}", False, inner_prefix)
            continue
        yield Item(prefix + name, member.size, lambda member=member: _opened(tar, member, label))


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo, label: str) -> IO[bytes]:
    """Open a member after a second check by tarfile's filter for untrusted archives."""
    try:
        # The folder is arbitrary: whether a path leaves it does not depend on its name.
        tarfile.data_filter(member, "/nowhere")
    except tarfile.FilterError as error:
        raise _refused(label, member.name, f"was refused by tarfile ({error})") from error
    file = tar.extractfile(member)
    assert file is not None, "only plain files are asked for"
    return file


def _zip_items(archive: Path) -> Iterator[Item]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            # The upper half contains the mode if a Unix program made the archive, else 0.
            mode = stat.S_IFMT(member.external_attr >> 16)
            if stat.S_ISLNK(mode):
                target = file.read(member)[:200].decode(errors="replace")
                raise _refused(archive.name, member.filename, f"is a link to {target!r}")
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive.name, member.filename, "is a device or a pipe")
            name = _checked_name(archive.name, member.filename)
            if not member.is_dir():
                yield Item(name, member.file_size, lambda member=member: file.open(member))


def _checked_name(label: str, name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute():
        raise _refused(label, name, "has an absolute path")
    if ".." in path.parts or "\0" in name:
        raise _refused(label, name, "has a path that leads out of the folder")
    return path.as_posix()


def _refused(label: str, name: str, fault: str) -> UserError:
    return UserError(
        f"{label} was refused, and nothing of it is left: its member {name!r} {fault}, expected "
        "are plain files and folders inside of it. Remove the archive and get it from its source."
    )


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Convert the exceptions of damaged archives to a `UserError`."""
    try:
        yield
    except _DAMAGE as error:
        # tarfile lists the error of each compression on further lines.
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
        raise UserError(
            f"{archive} can't be read as an archive ({reason}): it is damaged or no archive. "
            "Remove it and get it again."
        ) from error
