"""A fingerprint of a data set: it enters every result, and tells when a set has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.datasets.cache import write_json
from benchmarks.datasets.layout import IMAGE_SUFFIXES, Kind
from benchmarks.datasets.readers import reader
from contract.files import read_json

# Below this many bytes, files are fingerprinted by content; from there on, by name and size.
CONTENT_LIMIT_BYTES = 256 * 2**20

_DATA_SUFFIXES = IMAGE_SUFFIXES | {".xml", ".txt"}


@dataclass(frozen=True, order=True)
class _File:
    """A data file.

    Attributes:
        relative: Path relative to the set, with forward slashes.
        path: Path to open.
        size: Bytes.
        mtime_ns: Time of the last change in nanoseconds.
    """

    relative: str
    path: str
    size: int
    mtime_ns: int


def fingerprint(kind: Kind, root: Path, *, cache_dir: Path | None = None) -> str:
    """Returns a sha256 that changes when the set does.

    It covers the relative path and size of every file that the layout reads, and their content
    where that is less than `CONTENT_LIMIT_BYTES` in total. It does not depend on where the set
    lies.

    Args:
        kind: The layout.
        root: The set's folder.
        cache_dir: Where the result is kept, for as long as paths, sizes and times stay the same.

    Raises:
        UserError: The folder is missing, empty or of another layout.
    """
    files = _data_files(kind, root)
    return _digest(files) if cache_dir is None else _kept_digest(kind, root, files, cache_dir)


def identity(kind: Kind, root: Path, cache_dir: Path) -> str:
    """Returns a key for what was found out about the set's files.

    It is the fingerprint; for a set too large to be read through, together with the times of
    change, so that a file that was damaged or mended in place is looked at anew.
    """
    files = _data_files(kind, root)
    digest = _kept_digest(kind, root, files, cache_dir)
    return digest if _fits(files) else f"{digest}-{_listing_digest(files)}"


def _kept_digest(kind: Kind, root: Path, files: list[_File], cache_dir: Path) -> str:
    """Returns the files' digest from the cache, or takes it and keeps it there."""
    place = hashlib.sha256(f"{kind}\0{root.resolve()}".encode()).hexdigest()
    cache = cache_dir / f"fingerprint-{place}.json"
    listing = _listing_digest(files)
    kept = read_json(cache)
    if kept is not None and kept.get("listing") == listing:
        return str(kept["fingerprint"])
    found = _digest(files)
    write_json(cache, {"root": str(root), "listing": listing, "fingerprint": found})
    return found


def _data_files(kind: Kind, root: Path) -> list[_File]:
    """Returns the set's files, sorted by relative path."""
    # Made absolute, since `Path(".") / "train"` would not start with its root's text.
    root = root.absolute()
    found: list[_File] = []
    for path in reader(kind).data_paths(root):
        for entry in _scan(path):
            status = os.stat(entry)
            # Cut off as text: building a `Path` for each file takes longer than all the rest.
            relative = entry[len(str(root)) + 1 :].replace(os.sep, "/")
            found.append(_File(relative, entry, status.st_size, status.st_mtime_ns))
    return sorted(found)


def _scan(path: Path) -> Iterator[str]:
    """Yields the data files at or below a path; one that does not exist has none."""
    if path.is_file():
        yield str(path)
    for parent, _, names in os.walk(path, followlinks=True):
        for name in names:
            if os.path.splitext(name)[1].lower() in _DATA_SUFFIXES:
                yield os.path.join(parent, name)


def _fits(files: list[_File]) -> bool:
    """Tells whether the files are small enough in total to be read through."""
    return sum(file.size for file in files) < CONTENT_LIMIT_BYTES


def _listing_digest(files: list[_File]) -> str:
    """Returns a sha256 over names, sizes and times."""
    lines = (f"{file.relative}\0{file.size}\0{file.mtime_ns}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _digest(files: list[_File]) -> str:
    """Returns the sha256 that is the fingerprint."""
    digest = hashlib.sha256()
    with_content = _fits(files)
    for file in files:
        digest.update(f"{file.relative}\0{file.size}\n".encode())
        if with_content:
            digest.update(Path(file.path).read_bytes())
    return digest.hexdigest()
