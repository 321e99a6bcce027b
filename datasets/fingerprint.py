"""Dataset fingerprints, which are part of every result and change when the dataset changes."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

from contract import files
from contract.errors import UserError
from contract.files import read_json
from datasets import listing
from datasets.kinds import Kind
from datasets.layouts import layout_of
from datasets.listing import Listing

# A dataset with fewer bytes in total is fingerprinted by content, a larger one by names and sizes.
CONTENT_LIMIT_BYTES = 256 * 2**20


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
        return _digest(listing.walk(root, layout_of(kind).data_paths(root)))
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
        paths = layout_of(kind).data_paths(root)
        self._listing = listing.current(kind, root, paths, cache_dir)

    def fingerprint(self) -> str:
        """Return the fingerprint from the cache, or compute and store it."""
        return self._fingerprint

    def identity(self) -> str:
        """Return a cache key for the current state of the files.

        It is the fingerprint. For a dataset that is too large to read completely, modification times are added, so a
        file that was damaged or repaired in place is checked again.
        """
        if _fits(self._listing):
            return self._fingerprint
        return f"{self._fingerprint}-{self._digest}"

    @cached_property
    def _digest(self) -> str:
        return self._listing.digest()

    @cached_property
    def _fingerprint(self) -> str:
        place = hashlib.sha256(f"{self.kind}\0{self.root.resolve()}".encode()).hexdigest()
        cache = self.cache_dir / f"fingerprint-{place}.json"
        kept = read_json(cache)
        if kept is not None and kept.get("listing") == self._digest:
            found = str(kept["fingerprint"])
        else:
            found = _digest(self._listing)
            content = {"root": str(self.root), "listing": self._digest, "fingerprint": found}
            write_json(cache, content)
        self._keep_listing()
        return found

    def _keep_listing(self) -> None:
        """Store the listing for later commands and for the runs of this one."""
        if self._listing.kept:
            return
        try:
            self._listing.save(listing.file_of(self.kind, self.root, self.cache_dir))
        except OSError as error:
            raise _cannot_write(self.cache_dir, error) from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Store a cache entry. It only saves time and may be removed.

    Raises:
        UserError: The file cannot be written, for example because the disk is full.
    """
    try:
        files.write_json(path, content)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(
        f"can't write {path}: {error.strerror or error}. "
        "Free some space or make the folder writable."
    )


def _fits(found: Listing) -> bool:
    """Return whether the files are small enough in total to be read completely."""
    return int(found.sizes.sum()) < CONTENT_LIMIT_BYTES


def _digest(found: Listing) -> str:
    """Return the sha256 that is the fingerprint."""
    digest = hashlib.sha256()
    with_content = _fits(found)
    for index, (name, size) in enumerate(zip(found.names, found.sizes.tolist(), strict=True)):
        digest.update(f"{name}\0{size}\n".encode())
        if with_content and size >= 0:
            digest.update(Path(found.path(index)).read_bytes())
    return digest.hexdigest()
