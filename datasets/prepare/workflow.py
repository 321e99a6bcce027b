"""Prepare a dataset by name: check the disk, get the archives, arrange the files, rename the folder."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal

from contract.errors import UserError
from contract.files import read_json, write_json
from datasets.prepare.catalogue import SETS, DataSet
from datasets.prepare.extract import Staging
from datasets.prepare.progress import Announcer
from datasets.prepare.space import folder_bytes, require_space

if TYPE_CHECKING:
    from datasets.prepare.arrange import Step

# This file appears together with the dataset's folder, by one rename, so it marks a complete dataset.
MARKER = ".prepared.json"
ARCHIVES = "archives"
WORKPLACE = ".prepare"
# Increase it with every change of the files that `arrange` writes.
ARRANGEMENT_VERSION = 1


def prepare_sets(
    names: Sequence[str], root: Path, console: Console, archives: Path | None = None
) -> None:
    """Prepare datasets one after another; a failure does not stop the next one.

    Args:
        names: Keys of the catalogue.
        root: The data folder, for the datasets and, in `archives/`, their archives.
        console: Where to print.
        archives: The folder of the user's archives; None looks for them in `root`.

    Raises:
        UserError: Datasets could not be prepared; the message has a line for each.
    """
    problems: list[str] = []
    for name in names:
        try:
            with _disk_errors_as_user_errors(name):
                _prepare(SETS[name], root, Announcer(console), archives)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))


def _prepare(dataset: DataSet, root: Path, announcer: Announcer, own_archives: Path | None) -> None:
    final = root / dataset.folder
    if _is_finished(dataset, final):
        announcer.say(f"{dataset.name}: done before, in {final}; there is nothing to do.")
        return
    if final.is_symlink() or (final.exists() and not _is_empty_folder(final)):
        raise UserError(
            f"{final} is there already, and this command did not make it from the archives of "
            f"{dataset.name}. Check it with `python -m benchmarks verify {dataset.kind} {final}` and "
            "use it as it is, or move it away and run the same command again."
        )
    own = _own_archives(dataset, root, own_archives)
    _require_space(dataset, root, own)
    with _locked(root / WORKPLACE, dataset.name):
        # Another process may have prepared it while this one waited for the lock.
        if not _is_finished(dataset, final):
            _make(dataset, root, own, announcer)
    announcer.say(f"{dataset.name}: the dataset is in {final}.")
    if len(own) < len(dataset.archives):
        size = sum(a.size_bytes for role, a in dataset.archives.items() if role not in own)
        announcer.say(
            f"Its archives (about {decimal(size)}) are kept in {root / ARCHIVES}; they may be "
            "removed."
        )


def _make(dataset: DataSet, root: Path, own: dict[str, Path], announcer: Announcer) -> None:
    """Get the archives and fill the dataset's folder; the caller holds the lock."""
    # Imported late: scipy and requests are not needed if the dataset already exists.
    from datasets.prepare.arrange import steps as arrange_steps
    from datasets.prepare.download import check, fetch

    paths: dict[str, Path] = {}
    for role, archive in dataset.archives.items():
        if role in own:
            check(own[role], archive, announcer)
            paths[role] = own[role]
        else:
            paths[role] = fetch(archive, root / ARCHIVES, announcer)
    staging = Staging(root / WORKPLACE / f"{dataset.name}-{_origin(dataset)}", dataset.folder)
    staging.target.mkdir(parents=True, exist_ok=True)
    with _nothing_left_of_refused(staging):
        steps = arrange_steps(dataset.name, paths)
        announcer.say(f"Looking through the archives of {dataset.name}")
        sizes = [step.measure() for step in steps]
    missing_bytes = max(0, sum(sizes) - staging.used_bytes())
    require_space(root, missing_bytes, f"Unpacking {dataset.name}")
    with _nothing_left_of_refused(staging):
        for step, size in zip(steps, sizes, strict=True):
            _run(step, size, staging, announcer)
    write_json(staging.target / MARKER, _marker(dataset))
    os.replace(staging.target, root / dataset.folder)
    shutil.rmtree(staging.folder)


def _run(step: Step, size_bytes: int, staging: Staging, announcer: Announcer) -> None:
    done = 0
    with announcer.bar(step.title, size_bytes) as bar:

        def advance(bytes_on_disk: int) -> None:
            nonlocal done
            done += bytes_on_disk
            bar.at(done)

        step.write(staging, advance)


@contextmanager
def _nothing_left_of_refused(staging: Staging) -> Iterator[None]:
    """Remove unpacked files if an archive is refused; keep them after an interruption."""
    try:
        yield
    except UserError:
        shutil.rmtree(staging.folder)
        raise


def _own_archives(dataset: DataSet, root: Path, folder: Path | None) -> dict[str, Path]:
    """Find the archives that have no mirror, by role."""
    wanted = {role: archive for role, archive in dataset.archives.items() if not archive.urls}
    places = (root, root / ARCHIVES) if folder is None else (folder,)
    found: dict[str, Path] = {}
    for role, archive in wanted.items():
        for place in places:
            if (place / archive.file_name).is_file():
                found.setdefault(role, place / archive.file_name)
    missing = [archive.file_name for role, archive in wanted.items() if role not in found]
    if missing:
        raise UserError(
            f"{places[0]} does not hold {', '.join(missing)}, and {dataset.name} may not be "
            f"downloaded without an account: get {'it' if len(missing) == 1 else 'them'} from "
            f"{dataset.page} and name the folder with --archives."
        )
    return found


def _require_space(dataset: DataSet, root: Path, own: dict[str, Path]) -> None:
    """Check, before any download, that there is space for archives and result."""
    to_download = 0
    for role, archive in dataset.archives.items():
        path = root / ARCHIVES / archive.file_name
        if role not in own and not path.exists():
            part = path.with_name(f"{path.name}.part")
            arrived = part.stat().st_size if part.exists() else 0
            to_download += max(0, archive.size_bytes - arrived)
    unpacked = root / WORKPLACE / f"{dataset.name}-{_origin(dataset)}"
    to_unpack = max(0, dataset.unpacked_bytes - folder_bytes(unpacked))
    what = (
        f"{dataset.name} ({decimal(to_download)} to download, {decimal(to_unpack)} to unpack, each "
        "about)"
    )
    require_space(root, to_download + to_unpack, what)


def _is_finished(dataset: DataSet, final: Path) -> bool:
    return read_json(final / MARKER) == _marker(dataset)


def _marker(dataset: DataSet) -> dict[str, object]:
    checksums = {archive.file_name: archive.checksum for archive in dataset.archives.values()}
    return {"set": dataset.name, "version": ARRANGEMENT_VERSION, "archives": checksums}


def _origin(dataset: DataSet) -> str:
    """Return an id of archives and version; partial results with another id are not continued."""
    return hashlib.sha256(json.dumps(_marker(dataset)).encode()).hexdigest()[:12]


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and next(path.iterdir(), None) is None


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    """Lock a dataset against other processes; the kernel releases the lock when the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"Another process is preparing {name} in {folder.parent}. Wait until it has ended."
            ) from error
        yield


@contextmanager
def _disk_errors_as_user_errors(name: str) -> Iterator[None]:
    """Convert errors of the operating system to a `UserError`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f" at {error.filename}" if error.filename else ""
        remedy = "Fix that"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "Free some space"
        raise UserError(
            f"Preparing {name} stopped{place}: {error.strerror or error}. {remedy} and run the "
            "same command again: what was downloaded and unpacked is kept."
        ) from error
