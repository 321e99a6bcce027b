"""Generate a miniworld on disk, in parallel and atomically."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from contract.errors import UserError, unknown
from contract.machine import cpu_cores
from datasets.images import Progress
from datasets.miniworld import files
from datasets.miniworld.spec import GENERATOR_VERSION, PRESETS, MiniworldSpec

MARKER = "miniworld.json"

_CHUNK_IMAGES = 50


def prepare(
    preset: str,
    root: Path,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Generate a preset's world under `root` unless it exists.

    Args:
        preset: Key of `PRESETS`.
        root: Parent of the world's folder.
        processes: Worker processes; None takes one for each available core.
        progress: Called with the number of images done and the total.

    Returns:
        The world's folder, `root / preset`, which contains `cls`, `VOCdevkit` and `ADEChallengeData2016`.

    Raises:
        UserError: The preset is unknown, the folder has other content, or it cannot be written.
    """
    if preset not in PRESETS:
        raise unknown("miniworld preset", preset, PRESETS)
    return generate(PRESETS[preset], root / preset, processes, progress)


def generate(
    spec: MiniworldSpec,
    folder: Path,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Generate the world of `spec` in `folder` unless it exists; see `prepare`.

    The files do not depend on the number of processes. They are written beside `folder` and moved at the end, so a
    killed run leaves no incomplete world.
    """
    if processes is not None and processes < 1:
        raise UserError(f"got {processes} processes; expected 1 or more (default: one per core).")
    if is_generated(folder, spec):
        return folder
    if folder.exists() and not (folder / MARKER).is_file():
        raise UserError(
            f"{folder} exists and was not generated (it has no {MARKER}), so it is left alone. "
            "Name another data folder, or move this one away."
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        with _partial_folder(folder) as partial_folder:
            _write_world(spec, partial_folder, processes or cpu_cores(), progress)
            _put_in_place(partial_folder, folder, spec)
    except OSError as error:
        raise UserError(
            f"can't write the generated data to {folder}: {error.strerror or error}. "
            "It takes up to 200 MB there; free some space or name another data folder."
        ) from error
    return folder


def is_generated(folder: Path, spec: MiniworldSpec) -> bool:
    """Return whether `folder` contains the complete world of exactly this spec and version."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(marker, dict) and marker.get("digest") == spec.digest()


def _partial_path(folder: Path, pid: int) -> Path:
    return folder.parent / f".{folder.name}.partial-{pid}"


def _remove_abandoned(folder: Path) -> None:
    """Remove the partial folders of killed runs, but not those of running ones."""
    for path in folder.parent.glob(f".{folder.name}.partial-*"):
        pid = path.name.rpartition("-")[2]
        if not pid.isdigit() or not _is_alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _partial_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`, and remove its remains at the end."""
    path = _partial_path(folder, os.getpid())
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _put_in_place(partial_folder: Path, folder: Path, spec: MiniworldSpec) -> None:
    """Move the finished world to its name, replacing a world of another spec."""
    outdated = partial_folder.with_name(f"{partial_folder.name}-outdated")
    if folder.exists():
        # Another process was faster; its files are the same.
        if is_generated(folder, spec):
            return
        folder.rename(outdated)
    partial_folder.rename(folder)
    shutil.rmtree(outdated, ignore_errors=True)


def _write_world(
    spec: MiniworldSpec, root: Path, processes: int, progress: Progress | None
) -> None:
    """Write all files of the world into the empty folder `root`; the marker comes last."""
    _make_folders(spec, root)
    jobs = files.jobs(spec)
    chunks = [jobs[start : start + _CHUNK_IMAGES] for start in range(0, len(jobs), _CHUNK_IMAGES)]
    write = partial(_write_chunk, spec, root)
    pixels: dict[files.Job, list[int]] = {}
    done = 0
    with _mapper(min(processes, len(chunks))) as mapper:
        for result in mapper(write, chunks):
            pixels.update((job, counts) for job, counts in result if counts)
            done += len(result)
            if progress is not None:
                progress(done, len(jobs))
    _write_voc_lists(spec, root / "VOCdevkit")
    _write_ade_lists(spec, root / "ADEChallengeData2016", pixels)
    marker = {"digest": spec.digest(), "generator_version": GENERATOR_VERSION, "spec": asdict(spec)}
    (root / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _mapper(processes: int) -> Iterator[Callable]:
    """Yield an ordered `map` over processes, or the plain one for a single process."""
    if processes == 1 or not _can_spawn():
        yield map
        return
    # Spawned, because forking a process with threads may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=_ignore_interrupt)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def _can_spawn() -> bool:
    """Return whether a new process can import the main module; a script on stdin cannot be imported."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    return path is None or os.path.exists(path)


def _ignore_interrupt() -> None:
    """Leave Ctrl-C to the parent, which ends the workers without a traceback from each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_chunk(
    spec: MiniworldSpec, root: Path, chunk: list[files.Job]
) -> list[tuple[files.Job, list[int]]]:
    return [(job, files.write_image(spec, root, job)) for job in chunk]


def _make_folders(spec: MiniworldSpec, root: Path) -> None:
    """Create all folders of the three layouts for the workers."""
    for split in ("train", "val"):
        for name in spec.cls_names():
            (root / "cls" / split / name).mkdir(parents=True)
    for year in ("VOC2007", "VOC2012"):
        for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (root / "VOCdevkit" / year / name).mkdir(parents=True)
    for kind in ("images", "annotations"):
        for split in ("training", "validation"):
            (root / "ADEChallengeData2016" / kind / split).mkdir(parents=True)


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_voc_lists(spec: MiniworldSpec, devkit: Path) -> None:
    """Write the image lists of both years and the class names."""
    ids: dict[str, list[str]] = {"VOC2007/trainval": [], "VOC2007/test": [], "VOC2012/trainval": []}
    for job in files.jobs(spec):
        if job.split in ids:
            ids[job.split].append(files.voc_image_id(spec, job))
    for split, names in ids.items():
        year, part = split.split("/")
        folder = devkit / year / "ImageSets" / "Main"
        _write_lines(folder / f"{part}.txt", names)
        if part == "trainval":
            _write_lines(folder / "train.txt", names[: len(names) // 2])
            _write_lines(folder / "val.txt", names[len(names) // 2 :])
    _write_lines(devkit / "classes.txt", list(spec.det_names()))


def _write_ade_lists(spec: MiniworldSpec, ade: Path, pixels: dict[files.Job, list[int]]) -> None:
    """Write the class names, as a list and as ADE20K's table."""
    names = spec.seg_names()
    _write_lines(ade / "classes.txt", list(names))
    counts = {
        split: np.array([row for job, row in pixels.items() if job.split == split], dtype=np.int64)
        for split in ("ade/training", "ade/validation")
    }
    train = counts["ade/training"].reshape(-1, len(names) + 1)
    val = counts["ade/validation"].reshape(-1, len(names) + 1)
    share = train.sum(axis=0) / max(1, train.sum())
    lines = ["Idx\tRatio\tTrain\tVal\tStuff\tName"]
    for label, name in enumerate(names, start=1):
        in_train = int(np.count_nonzero(train[:, label]))
        in_val = int(np.count_nonzero(val[:, label]))
        is_stuff = int(label <= spec.seg_stuff_classes)
        lines.append(f"{label}\t{share[label]:.4f}\t{in_train}\t{in_val}\t{is_stuff}\t{name}")
    _write_lines(ade / "objectInfo150.txt", lines)
