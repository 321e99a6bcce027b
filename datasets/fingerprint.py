"""Dataset fingerprints, which are part of every result and change when the dataset changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from contract import files
from contract.errors import UserError
from contract.files import read_json
from datasets.images import IMAGE_SUFFIXES, is_hidden
from datasets.kinds import Kind
from datasets.layouts import layout_of

# A dataset with fewer bytes in total is fingerprinted by content, a larger one by names and sizes.
CONTENT_LIMIT_BYTES = 256 * 2**20

_ANNOTATION_SUFFIXES = frozenset(
    (".csv", ".json", ".mat", ".npy", ".npz", ".tsv", ".txt", ".xml", ".yaml", ".yml")
)
_DATA_SUFFIXES = IMAGE_SUFFIXES | _ANNOTATION_SUFFIXES


@dataclass(frozen=True, order=True)
class _File:
    """A data file.

    Attributes:
        relative: Path relative to the dataset, with forward slashes.
        path: Path to open.
        size: Bytes.
        mtime_ns: Time of the last change in nanoseconds.
    """

    relative: str
    path: str
    size: int
    mtime_ns: int


def fingerprint(kind: Kind, root: Path, *, cache_dir: Path | None = None) -> str:
    """Return a sha256 that changes when the dataset does.

    It covers the relative path and size of every image and annotation file in the folders of the layout, and their
    content if that is less than `CONTENT_LIMIT_BYTES` in total. It does not depend on where the dataset is.

    Args:
        kind: The layout.
        root: The dataset's folder.
        cache_dir: Folder of the cache; an entry is valid while paths, sizes and times stay the same.

    Raises:
        UserError: The folder is missing, empty or of another layout.
    """
    if cache_dir is None:
        return _digest(_data_files(kind, root))
    return Files(kind, root, cache_dir).fingerprint()


class Files:
    """The files of a dataset, listed once, and cached facts about them.

    Args:
        kind: The layout.
        root: The dataset's folder.
        cache_dir: Folder of the cache.

    Raises:
        UserError: The folder is missing, empty or of another layout.
    """

    def __init__(self, kind: Kind, root: Path, cache_dir: Path) -> None:
        self.kind: Kind = kind
        self.root = root
        self.cache_dir = cache_dir
        self._files = _data_files(kind, root)

    def fingerprint(self) -> str:
        """Return the fingerprint from the cache, or compute and store it."""
        return self._fingerprint

    def identity(self) -> str:
        """Return a cache key for the current state of the files.

        It is the fingerprint. For a dataset that is too large to read completely, modification times are added, so a
        file that was damaged or repaired in place is checked again.
        """
        if _fits(self._files):
            return self._fingerprint
        return f"{self._fingerprint}-{_listing_digest(self._files)}"

    @cached_property
    def _fingerprint(self) -> str:
        place = hashlib.sha256(f"{self.kind}\0{self.root.resolve()}".encode()).hexdigest()
        cache = self.cache_dir / f"fingerprint-{place}.json"
        listing = _listing_digest(self._files)
        kept = read_json(cache)
        if kept is not None and kept.get("listing") == listing:
            return str(kept["fingerprint"])
        found = _digest(self._files)
        write_json(cache, {"root": str(self.root), "listing": listing, "fingerprint": found})
        return found


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Store a cache entry. It only saves time and may be removed.

    Raises:
        UserError: The file cannot be written, for example because the disk is full.
    """
    try:
        files.write_json(path, content)
    except OSError as error:
        raise UserError(
            f"can't write {path}: {error.strerror or error}. "
            "Free some space or make the folder writable."
        ) from error


def _data_files(kind: Kind, root: Path) -> list[_File]:
    """Return the dataset's files, each once, sorted by relative path."""
    # Made absolute, because the text of `Path(".") / "train"` would not start with that of its root.
    root = root.absolute()
    found: set[_File] = set()
    for path in layout_of(kind).data_paths(root):
        for entry in _scan(path):
            status = os.stat(entry)
            # Cut off as text: building a `Path` for each file takes longer than everything else.
            relative = entry[len(str(root)) + 1 :].replace(os.sep, "/")
            found.add(_File(relative, entry, status.st_size, status.st_mtime_ns))
    return sorted(found)


def _scan(path: Path) -> Iterator[str]:
    """Yield the data files at or below a path; a missing path has none."""
    if path.is_file():
        yield str(path)
    for parent, _, names in os.walk(path, followlinks=True):
        for name in names:
            if os.path.splitext(name)[1].lower() in _DATA_SUFFIXES and not is_hidden(name):
                yield os.path.join(parent, name)


def _fits(found: list[_File]) -> bool:
    """Return whether the files are small enough in total to be read completely."""
    return sum(file.size for file in found) < CONTENT_LIMIT_BYTES


def _listing_digest(found: list[_File]) -> str:
    """Return a sha256 over names, sizes and times."""
    lines = (f"{file.relative}\0{file.size}\0{file.mtime_ns}\n" for file in found)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _digest(found: list[_File]) -> str:
    """Return the sha256 that is the fingerprint."""
    digest = hashlib.sha256()
    with_content = _fits(found)
    for file in found:
        digest.update(f"{file.relative}\0{file.size}\n".encode())
        if with_content:
            digest.update(Path(file.path).read_bytes())
    return digest.hexdigest()
