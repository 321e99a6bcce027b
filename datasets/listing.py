"""The files of a dataset: listed once, kept between commands, and shared with the runs.

A walk asks for the size and time of every file. On a network file system, a million such questions take minutes.
`current` therefore takes the listing of an earlier command if nothing changed since:

- A file that was added, removed, renamed or replaced by a rename changes the time of its folder. Every folder's time is
  compared each time.
- A file that was overwritten in place changes its own size or time only. A dataset of fewer than `MANY_FILES` files is
  walked each time, so this is noticed at once. Of a larger one, `SAMPLE` random files are compared each time, and all
  files once in `MOST_SECONDS`.

A run reads the names from the listing that its command stored, and compares the times of the folders. It does not ask
for the files.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.images import IMAGE_SUFFIXES, is_hidden
from datasets.texts import Texts, read_arrays, write_arrays

MANY_FILES = 100_000
SAMPLE = 1_000
MOST_SECONDS = 24 * 3600
# The environment variable with the folder of the listings, which the harness sets for its runs.
VARIABLE = "TRICKBENCH_LISTINGS"
# A folder that changed so shortly before the walk can change again without a new time.
_COARSEST_SECONDS = 2
# Each question waits for the file server.
_THREADS = 16
_CHUNK = 1_000
_VERSION = 1
_ANNOTATION_SUFFIXES = frozenset(
    (".csv", ".json", ".mat", ".npy", ".npz", ".tsv", ".txt", ".xml", ".yaml", ".yml")
)
_DATA_SUFFIXES = IMAGE_SUFFIXES | _ANNOTATION_SUFFIXES


@dataclass(frozen=True, eq=False)
class Listing:
    """The data files at or below some paths of a dataset.

    Attributes:
        root: The dataset's folder, absolute.
        names: The files' paths relative to `root` with forward slashes, sorted.
        sizes: Their bytes, int64.
        times: Times of their last change in nanoseconds, int64.
        folders: The folders that were read, relative to `root`.
        folder_times: Times of the folders' last change in nanoseconds, int64.
        alone: Positions of the files that were named themselves; no folder's time tells of them.
        started: When the walk started, in seconds since the epoch.
        kept: Whether the listing comes from the cache.
    """

    root: Path
    names: Texts
    sizes: np.ndarray
    times: np.ndarray
    folders: Texts
    folder_times: np.ndarray
    alone: np.ndarray
    started: float
    kept: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> str:
        """Return the path of a file."""
        return os.path.join(self.root, self.names[index])

    def digest(self) -> str:
        """Return a sha256 over names, sizes and times."""
        triples = zip(self.names, self.sizes.tolist(), self.times.tolist(), strict=True)
        lines = (f"{name}\0{size}\0{mtime}\n" for name, size, mtime in triples)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def folders_unchanged(self) -> bool:
        """Return whether no file was added, removed or renamed since."""
        newest = int(self.folder_times.max(initial=0)) / 1e9
        if newest > self.started - _COARSEST_SECONDS:
            return False
        paths = [os.path.join(self.root, folder) for folder in self.folders]
        return [time_ns for _, time_ns in _states(paths)] == self.folder_times.tolist()

    def is_current(self) -> bool:
        """Return whether the files are still the same, as far as the module's docstring says."""
        if not (0 <= time.time() - self.started < MOST_SECONDS and self.folders_unchanged()):
            return False
        count = min(SAMPLE, len(self))
        drawn = np.random.default_rng().choice(len(self), count, replace=False)
        chosen = np.union1d(drawn, self.alone).astype(np.int64)
        found = _states([self.path(index) for index in chosen.tolist()])
        expected = zip(self.sizes[chosen].tolist(), self.times[chosen].tolist(), strict=True)
        return found == list(expected)

    def save(self, file: Path) -> None:
        """Store the listing.

        Raises:
            OSError: The file cannot be written.
        """
        arrays = {
            "names": self.names.text,
            "name_ends": self.names.ends,
            "sizes": self.sizes,
            "times": self.times,
            "folders": self.folders.text,
            "folder_ends": self.folders.ends,
            "folder_times": self.folder_times,
            "alone": self.alone,
            "started": np.asarray([self.started]),
            "version": np.asarray([_VERSION]),
        }
        write_arrays(file, arrays)


def load(root: Path, file: Path) -> Listing | None:
    """Return the stored listing of a dataset; None if there is none, or it is damaged."""
    kept = read_arrays(file)
    if kept is None or "version" not in kept or kept["version"].tolist() != [_VERSION]:
        return None
    return Listing(
        root=root.absolute(),
        names=Texts(kept["names"], kept["name_ends"]),
        sizes=kept["sizes"],
        times=kept["times"],
        folders=Texts(kept["folders"], kept["folder_ends"]),
        folder_times=kept["folder_times"],
        alone=kept["alone"],
        started=float(kept["started"][0]),
        kept=True,
    )


def file_of(kind: str, root: Path, cache_dir: Path) -> Path:
    """Return the file of a dataset's listing."""
    place = hashlib.sha256(f"{kind}\0{root.resolve()}".encode()).hexdigest()
    return cache_dir / f"listing-{place}.npz"


def current(kind: str, root: Path, paths: Sequence[Path], cache_dir: Path) -> Listing:
    """Return the stored listing of a large dataset if nothing changed since, or walk.

    Args:
        kind: The layout.
        root: The dataset's folder.
        paths: The files and folders that make up the dataset; some may not exist.
        cache_dir: Folder of the cache.
    """
    kept = load(root, file_of(kind, root, cache_dir))
    if kept is not None and len(kept) >= MANY_FILES and kept.is_current():
        known = set(kept.folders) | {kept.names[index] for index in kept.alone.tolist()}
        if all(_relative(kept.root, str(path.absolute())) in known for path in _existing(paths)):
            return kept
    return walk(root, paths)


def of_run(kind: str, root: Path) -> Listing | None:
    """Return the listing that the harness stored for its runs, unless a folder changed since."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    kept = load(root, file_of(kind, root, Path(folder)))
    return kept if kept is not None and kept.folders_unchanged() else None


def walk(root: Path, paths: Iterable[Path]) -> Listing:
    """List the data files at or below paths, each once."""
    started = time.time()
    # Made absolute, because the text of `Path(".") / "train"` would not start with that of its root.
    root = root.absolute()
    alone: set[str] = set()
    inside: dict[str, None] = {}
    folders: dict[str, tuple[int, int]] = {}
    for path in _existing(paths):
        if path.is_file():
            alone.add(_relative(root, str(path.absolute())))
            continue
        for folder, state, names in _walk(str(path.absolute())):
            relative = _relative(root, folder)
            folders[relative] = state
            inside.update(
                dict.fromkeys(f"{relative}/{name}" if relative else name for name in names)
            )
    names = sorted(alone.union(inside))
    places = {name: index for index, name in enumerate(names)} if alone else {}
    sizes, times = _arrays(_states([os.path.join(root, name) for name in names]))
    _, folder_times = _arrays(list(folders.values()))
    return Listing(
        root=root,
        names=Texts.of(names),
        sizes=sizes,
        times=times,
        folders=Texts.of(folders),
        folder_times=folder_times,
        alone=np.asarray(sorted(places[name] for name in alone), np.int64),
        started=started,
    )


def _walk(path: str) -> Iterator[tuple[str, tuple[int, int], list[str]]]:
    """Yield each folder at or below a path, its state before it was read, and the names of its data files.

    A file that is added while the folder is read then changes the folder's time, even if the clock of the file server
    is behind.
    """
    before = {path: _state(path)}
    for parent, folders, names in os.walk(path, followlinks=True):
        before.update({(inner := os.path.join(parent, name)): _state(inner) for name in folders})
        chosen = (name for name in names if not is_hidden(name))
        known = [n for n in chosen if os.path.splitext(n)[1].lower() in _DATA_SUFFIXES]
        yield parent, before.pop(parent), known


def _existing(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.exists()]


def _relative(root: Path, path: str) -> str:
    # Cut off as text: building a `Path` for each file takes longer than everything else.
    return path[len(str(root)) + 1 :].replace(os.sep, "/")


def _states(paths: Sequence[str]) -> list[tuple[int, int]]:
    """Return size and time of each path; (-1, -1) for a missing one, such as a broken link."""
    if len(paths) <= _CHUNK:
        return [_state(path) for path in paths]
    parts = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    with ThreadPoolExecutor(_THREADS) as pool:
        return [state for part in pool.map(_states, parts) for state in part]


def _state(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _arrays(states: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    both = np.asarray(states, np.int64).reshape(-1, 2)
    return both[:, 0].copy(), both[:, 1].copy()
