"""Checks a data set before a run starts, so that a bad file is told now and not in epoch 9."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from benchmarks.datasets.cache import write_json
from benchmarks.datasets.decoding import Progress
from benchmarks.datasets.fingerprint import identity
from benchmarks.datasets.layout import Kind
from benchmarks.datasets.leaks import leak_problems
from benchmarks.datasets.readers import Reader, reader
from benchmarks.datasets.report import VerifyReport
from contract.files import read_json

# To be raised by whoever changes what `verify` or `class_names` says of the same files.
CHECK_VERSION = 4


def verify(
    kind: Kind,
    root: Path,
    *,
    decode: bool = True,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Checks that every image decodes, every annotation makes sense, and no test image is trained on.

    Args:
        kind: The layout: `"imagefolder"`, `"voc"`, `"coco"` or `"ade20k"`.
        root: The set's folder; for VOC the devkit, or a single tree.
        decode: Decode every pixel and compare the splits; without, only the files' headers are read.
        cache_dir: Where an earlier report on the same files is looked up and this one is kept;
            a folder outside the set. What lies there only saves time and may be removed.
        progress: Called with files done and files in total, now and then.

    Returns:
        What was counted and what is wrong; `raise_for_errors` turns that into an error.

    Raises:
        UserError: The folder is missing, empty or of another layout, or its classes are unknown.
    """
    layout = reader(kind)
    if cache_dir is None:
        return _check(layout, root, decode, progress)
    cache = _cache_path(cache_dir, f"verify-{decode}", kind, root)
    kept = read_json(cache)
    if kept is not None:
        return VerifyReport.from_json(kept, root)
    report = _check(layout, root, decode, progress)
    write_json(cache, report.to_json())
    return report


def _check(layout: Reader, root: Path, decode: bool, progress: Progress | None) -> VerifyReport:
    report = layout.check(root, decode, progress)
    if not decode:
        return report
    leaks = leak_problems(*layout.splits(root))
    counts = {**report.counts, "test_images_trained_on": len(leaks)}
    return replace(report, counts=counts, problems=(*report.problems, *leaks))


def class_names(kind: Kind, root: Path, *, cache_dir: Path | None = None) -> tuple[str, ...]:
    """Returns the names of a set's classes, in the order of their indices.

    Raises:
        UserError: The folder is missing, empty or of another layout, or its classes are unknown.
    """
    layout = reader(kind)
    if cache_dir is None:
        return layout.class_names(root)
    cache = _cache_path(cache_dir, "classes", kind, root)
    kept = read_json(cache)
    if kept is not None:
        return tuple(kept["names"])
    names = layout.class_names(root)
    write_json(cache, {"names": names})
    return names


def _cache_path(cache_dir: Path, what: str, kind: Kind, root: Path) -> Path:
    """Returns the cache file of an answer about the set as it is now."""
    key = f"{CHECK_VERSION}\0{kind}\0{identity(kind, root, cache_dir)}"
    return cache_dir / f"{what}-{hashlib.sha256(key.encode()).hexdigest()}.json"
