"""The ADE20K layout: `images` and `annotations` with the same names, 0 for pixels of no class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.datasets.decoding import DECODE_ERRORS, Progress, count_mends, inspect, map_threaded
from benchmarks.datasets.layout import named_classes, require_folder, wrong_layout
from benchmarks.datasets.report import Problem, Severity, VerifyReport
from contract.errors import UserError

REQUIRED_SPLITS = ("training", "validation")
_PARTS = ("images", "annotations")
# Pillow's modes whose pixel values are the labels: grey, palette index, and one bit.
_LABEL_MODES = ("L", "P", "1")


@dataclass
class _Findings:
    """What checking one image gave."""

    mends: tuple[str, ...] = ()
    labels: set[int] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def add(self, path: Path, message: str, severity: Severity = "error") -> None:
        self.problems.append(Problem(path, message, severity))


def split_names(root: Path) -> list[str]:
    """Returns the splits of a set: `training`, `validation`, and others that have both folders.

    Raises:
        UserError: The folder is not in this layout; with the folder that was meant, if one is near.
    """
    require_folder("ade20k", root)
    if any(not (root / part).is_dir() for part in _PARTS):
        inner = [path for path in sorted(root.iterdir()) if _is_tree(path)]
        above = next((path for path in root.resolve().parents if _is_tree(path)), None)
        meant = inner[0] if inner else above
        lacking = " and no ".join(part for part in _PARTS if not (root / part).is_dir())
        fix = f"Did you mean {meant}?" if meant else ""
        raise wrong_layout("ade20k", root, f"it has no folder {lacking}", fix)
    for part in _PARTS:
        for split in REQUIRED_SPLITS:
            if not (root / part / split).is_dir():
                raise wrong_layout("ade20k", root, f"{part} has no folder {split}")
    found = sorted(path.name for path in (root / "images").iterdir() if path.is_dir())
    kept = [split for split in found if (root / "annotations" / split).is_dir()]
    for split in REQUIRED_SPLITS:
        if next((root / "images" / split).glob("*.jpg"), None) is None:
            raise wrong_layout("ade20k", root, f"{root / 'images' / split} has no .jpg image")
    return kept


def _is_tree(folder: Path) -> bool:
    return all((folder / part / "training").is_dir() for part in _PARTS)


def class_names(root: Path) -> tuple[str, ...]:
    """Returns the classes of a set; label `i` has name `i - 1`.

    They are those of `classes.txt` where there is one, else of `objectInfo150.txt` (the first of
    each line's synonyms).

    Raises:
        UserError: The folder is not in this layout, or has neither file.
    """
    listed, table = root / "classes.txt", root / "objectInfo150.txt"
    if listed.is_file():
        return named_classes(listed)
    if table.is_file():
        return _table_names(table)
    require_folder("ade20k", root)
    split_names(root)
    raise UserError(
        f"{root} does not say its class names: add {listed} with the names of labels 1, 2, 3 and "
        "so on, one a line (0 stands for pixels of no class and is not listed)."
    )


def _table_names(table: Path) -> tuple[str, ...]:
    """Reads ADE20K's tab-separated table, whose first line names the columns."""
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8-sig").splitlines() if line]
    header = [cell.strip() for cell in rows[0]] if rows else []
    if "Idx" not in header or "Name" not in header:
        raise UserError(
            f"{table} starts with {header}; expected tab-separated columns with Idx and Name. "
            "Get it anew, or put the class names into a classes.txt beside it, one a line."
        )
    index_column, name_column = header.index("Idx"), header.index("Name")
    full: list[str] = []
    for number, row in enumerate(rows[1:], start=1):
        if len(row) <= max(index_column, name_column) or row[index_column].strip() != str(number):
            raise UserError(
                f"{table} line {number + 1} is {row}; expected Idx {number} and a Name."
            )
        full.append(row[name_column].strip())
    short = [name.split(",")[0].strip() for name in full]
    # Where the first synonym is not unique, the whole list of them is.
    return tuple(
        long if short.count(name) > 1 else name for name, long in zip(short, full, strict=True)
    )


def data_paths(root: Path) -> list[Path]:
    """Returns the folders and files that make up the set."""
    paths = [root / part / split for part in _PARTS for split in split_names(root)]
    return [*paths, root / "classes.txt", root / "objectInfo150.txt"]


def splits(root: Path) -> tuple[list[Path], list[Path]]:
    """Returns the images of training and of validation."""
    train, val = (sorted((root / "images" / split).glob("*.jpg")) for split in REQUIRED_SPLITS)
    return train, val


def check(root: Path, decode: bool = True, progress: Progress | None = None) -> VerifyReport:
    """Checks every image and its label map; see `verify`."""
    found_splits = split_names(root)
    names = class_names(root)
    counts = {"images": 0, "objects": 0, "classes": len(names)}
    mends: list[tuple[str, ...]] = []
    problems: list[Problem] = []
    for split in found_splits:
        images = sorted((root / "images" / split).glob("*.jpg"))
        counts["images"] += len(images)
        counts[f"{split}_images"] = len(images)
        folder = root / "annotations" / split
        check_pair = partial(_check_pair, label_folder=folder, classes=len(names), decode=decode)
        for findings in map_threaded(check_pair, images, progress):
            counts["objects"] += len(findings.labels - {0})
            mends.append(findings.mends)
            problems += findings.problems
        problems += _labels_alone(folder, images)
    return VerifyReport("ade20k", root, counts | count_mends(mends), tuple(problems))


def _labels_alone(folder: Path, images: Sequence[Path]) -> list[Problem]:
    stems = {image.stem for image in images}
    return [
        Problem(path, "the label map has no image; it is left out", "mended")
        for path in sorted(folder.glob("*.png"))
        if path.stem not in stems
    ]


def _check_pair(image: Path, label_folder: Path, classes: int, decode: bool) -> _Findings:
    findings = _Findings()
    picture = inspect(image, decode)
    if picture.fault:
        findings.add(image, picture.fault)
    else:
        findings.mends = picture.mends
    path = label_folder / f"{image.stem}.png"
    if not path.is_file():
        findings.add(path, f"{image.name} has no label map; add it or remove the image")
        return findings
    label_map = inspect(path, decode=False)
    if label_map.fault:
        findings.add(path, label_map.fault)
        return findings
    if label_map.mode not in _LABEL_MODES:
        findings.add(
            path,
            f"the label map has mode {label_map.mode}; expected one 8-bit channel that holds the "
            f"class number, 0 to {classes}: write it anew as a grey or palette PNG",
        )
        return findings
    if picture.size is not None and label_map.size is not None and label_map.size != picture.size:
        findings.add(
            path,
            f"the label map is {label_map.size[0]}×{label_map.size[1]} but its image is "
            f"{picture.size[0]}×{picture.size[1]}; scale one of them (labels without smoothing)",
        )
    if decode:
        _check_labels(path, classes, findings)
    return findings


def _check_labels(path: Path, classes: int, findings: _Findings) -> None:
    """Notes which labels a map holds, and reports those outside `0..classes`."""
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture, dtype=np.uint8)
    except DECODE_ERRORS as error:
        findings.add(path, f"the label map does not decode ({error}): get it anew")
        return
    present = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    findings.labels = set(present.tolist())
    outside = present[present > classes].tolist()
    if outside:
        shown = ", ".join(map(str, outside[:5])) + (" …" if len(outside) > 5 else "")
        findings.add(
            path,
            f"the label map holds {shown}; allowed are 0 (no class) to {classes}: "
            "set such pixels to 0, or add the missing names to classes.txt",
        )
