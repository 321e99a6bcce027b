"""Check a dataset before a run starts, so a bad file does not stop the training later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from contract.files import read_json
from datasets.fingerprint import Files, write_json
from datasets.images import Progress
from datasets.kinds import Kind
from datasets.layouts import Layout, layout_of
from datasets.leaks import leak_problems
from datasets.report import VerifyReport

# Increase it with every change of the report on unchanged files.
CHECK_VERSION = 6


def verify(
    kind: Kind,
    root: Path,
    *,
    decode: bool = True,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Check that every image decodes, every annotation makes sense, and no test image is trained on.

    Args:
        kind: The layout: `"imagefolder"`, `"voc"`, `"coco"` or `"ade20k"`.
        root: The dataset's folder; for VOC the devkit, or a single tree.
        decode: Decode every pixel and compare the splits; if False, only the headers of the files are read.
        cache_dir: Cache folder for reports on the same files, outside the dataset. Its content only saves time and
            may be removed.
        progress: Called from time to time with the number of files done and the total.

    Returns:
        The counts and problems; `raise_for_errors` turns errors into an exception.

    Raises:
        UserError: The folder is missing, empty or of another layout, or its classes are unknown.
    """
    layout = layout_of(kind)
    if cache_dir is None:
        return _check(layout, root, decode, progress)
    return _verify(layout, Files(kind, root, cache_dir), decode, progress)


def inspect(
    kind: Kind, root: Path, *, most_images_to_decode: int, cache_dir: Path
) -> tuple[VerifyReport, str]:
    """Check and fingerprint a dataset with one listing of its files.

    Args:
        kind: The layout.
        root: The dataset's folder.
        most_images_to_decode: If there are more images, only the headers of the files are read.
        cache_dir: See `verify`.

    Returns:
        The report, and the fingerprint.

    Raises:
        UserError: See `verify`.
    """
    layout, files = layout_of(kind), Files(kind, root, cache_dir)
    images = _kept(files, "images", lambda: {"count": _count_images(layout, root)})["count"]
    report = _verify(layout, files, images <= most_images_to_decode, None)
    return report, files.fingerprint()


def class_names(kind: Kind, root: Path, *, cache_dir: Path | None = None) -> tuple[str, ...]:
    """Return the names of a dataset's classes, in the order of their indices.

    Raises:
        UserError: The folder is missing, empty or of another layout, or its classes are unknown.
    """
    layout = layout_of(kind)
    if cache_dir is None:
        return layout.classes(root)
    files = Files(kind, root, cache_dir)
    return tuple(_kept(files, "classes", lambda: {"names": layout.classes(root)})["names"])


def _verify(layout: Layout, files: Files, decode: bool, progress: Progress | None) -> VerifyReport:
    content = _kept(
        files, f"verify-{decode}", lambda: _check(layout, files.root, decode, progress).to_json()
    )
    return VerifyReport.from_json(content, files.root)


def _check(layout: Layout, root: Path, decode: bool, progress: Progress | None) -> VerifyReport:
    report = layout.check(root, decode, progress)
    if not decode:
        return report
    splits = layout.splits(root)
    leaks = leak_problems(splits.train_contents(), splits.test_contents())
    counts = {**report.counts, "test_images_trained_on": len(leaks)}
    return replace(report, counts=counts, problems=(*report.problems, *leaks))


def _count_images(layout: Layout, root: Path) -> int:
    """Return the number of training and test images, from the lists only."""
    splits = layout.splits(root)
    return len(splits.train_images()) + len(splits.test_images())


def _kept(files: Files, what: str, find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a fact about the current dataset from the cache, or compute and store it."""
    key = f"{CHECK_VERSION}\0{files.kind}\0{files.identity()}"
    path = files.cache_dir / f"{what}-{hashlib.sha256(key.encode()).hexdigest()}.json"
    kept = read_json(path)
    if kept is None:
        kept = find()
        write_json(path, kept)
    return kept
