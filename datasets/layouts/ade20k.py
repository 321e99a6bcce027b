"""The ADE20K layout: `images` and `annotations` with the same names; label 0 is for pixels of no class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from contract.errors import UserError
from datasets.images import Progress, count_repairs, images_below, inspect, is_hidden, map_threaded
from datasets.layouts.folder import require_folder, wrong_layout
from datasets.layouts.names import read_classes, read_text, require_different
from datasets.records import LabelMapSample, Splits
from datasets.report import Findings, Problem, VerifyReport
from datasets.split import keeps

REQUIRED_SPLITS = ("training", "validation")
LABEL_SUFFIX = ".png"
# Ignored by the loss and the metric, like label 0.
IGNORED = 255
_PARTS = ("images", "annotations")
# Pillow's modes whose pixel values are the labels: grey, palette index, and one bit.
_LABEL_MODES = ("L", "P", "1")


@dataclass(frozen=True)
class Folders:
    """The images and label maps of one split.

    Attributes:
        image_folder: Contains the images, at any depth.
        label_folder: Contains a label map for each image, with the same relative path and name.
    """

    image_folder: Path
    label_folder: Path

    def images(self) -> list[Path]:
        """Return the images, sorted by path."""
        return sorted(images_below(self.image_folder), key=str)

    def names(self) -> list[str]:
        """Return the names of the images without folder and suffix."""
        return [image.stem for image in self.images()]

    def suffix(self) -> str:
        """Return the suffix of all images.

        Raises:
            UserError: There are images of several suffixes, or none.
        """
        suffixes = sorted({image.suffix for image in self.images()})
        if len(suffixes) == 1:
            return suffixes[0]
        found = f"images of the kinds {suffixes}" if suffixes else "no images"
        raise UserError(f"{self.image_folder} holds {found}; one kind is expected")

    def label_map(self, image: Path) -> Path:
        """Return the expected path of an image's label map."""
        return (self.label_folder / image.relative_to(self.image_folder)).with_suffix(LABEL_SUFFIX)

    def samples(self, held_out: bool | None = None) -> list[LabelMapSample]:
        """Return the images with their label maps.

        Args:
            held_out: Keep one side of the images; see `datasets.split.keeps`.

        Raises:
            UserError: An image has no label map.
        """
        samples = [LabelMapSample(image, self.label_map(image)) for image in self.images()]
        for sample in samples:
            if not sample.label_map.is_file():
                raise UserError(
                    f"{sample.image} has no label map {sample.label_map}; add it or remove the image"
                )
        return [sample for sample in samples if keeps(sample.image.stem, None, held_out)]


def find(root: Path) -> bool:
    """Return whether a folder looks like this layout."""
    return all((root / part / split).is_dir() for part in _PARTS for split in REQUIRED_SPLITS)


def splits(root: Path) -> Splits[Folders]:
    """Return the images to train on and to test on: training and validation.

    Raises:
        UserError: The folder is not in this layout.
    """
    _require_layout(root)
    train, test = (_folders(root, split) for split in REQUIRED_SPLITS)
    return Splits((train,), test)


def classes(root: Path) -> tuple[str, ...]:
    """Return the classes of a dataset; label `i` has name `i - 1`.

    They come from `classes.txt`, else from `objectInfo150.txt` (the first of each line's synonyms, or all of them if
    two lines have the same first one).

    Raises:
        UserError: The folder is not in this layout, has neither file, or lists more classes than label maps can
            represent.
    """
    listed, table = root / "classes.txt", root / "objectInfo150.txt"
    path = listed if listed.is_file() else table
    if not path.is_file():
        _require_layout(root)
        raise UserError(
            f"{root} does not say its class names: it has neither {listed.name} nor {table.name}. Add {listed} with "
            "the names of labels 1, 2, 3 and so on, one a line (0 stands for pixels of no class and is not listed)."
        )
    names = read_classes(listed) if path is listed else _read_table(table)
    if len(names) >= IGNORED:
        raise UserError(
            f"{path} names {len(names)} classes; 1 to {IGNORED - 1} fit into label maps of 8 bits, where "
            f"0 and {IGNORED} are ignored"
        )
    return names


def data_paths(root: Path) -> list[Path]:
    """Return the folders and files that make up the dataset, without reading one; some may not exist."""
    _require_layout(root)
    paths = [root / part / split for part in _PARTS for split in _split_names(root)]
    return [*paths, root / "classes.txt", root / "objectInfo150.txt"]


def check(root: Path, decode: bool = True, progress: Progress | None = None) -> VerifyReport:
    """Check every image and its label map; see `datasets.verify`."""
    _require_layout(root)
    names = classes(root)
    counts = {"images": 0, "objects": 0, "classes": len(names)}
    repairs: list[tuple[str, ...]] = []
    problems: list[Problem] = []
    for split in _split_names(root):
        part = _folders(root, split)
        images = part.images()
        counts["images"] += len(images)
        counts[f"{split}_images"] = len(images)
        check_pair = partial(_check_pair, part=part, num_classes=len(names), decode=decode)
        for findings in map_threaded(check_pair, images, progress):
            counts["objects"] += findings.objects
            repairs.append(findings.repairs)
            problems += findings.problems
        problems += _labels_alone(part, images)
    return VerifyReport("ade20k", root, counts | count_repairs(repairs), tuple(problems))


def _require_layout(root: Path) -> None:
    """Check that both splits exist and that all images of a split have the same suffix.

    Raises:
        UserError: The layout is wrong. The message names the folder that was probably meant.
    """
    require_folder("ade20k", root)
    missing = [part for part in _PARTS if not (root / part).is_dir()]
    if missing:
        inner = [path for path in sorted(root.iterdir()) if _is_tree(path)]
        above = next((path for path in root.resolve().parents if _is_tree(path)), None)
        meant = inner[0] if inner else above
        fix = f"Did you mean {meant}?" if meant else ""
        raise wrong_layout("ade20k", root, f"it has no folder {' and no '.join(missing)}", fix)
    for part in _PARTS:
        for split in REQUIRED_SPLITS:
            if not (root / part / split).is_dir():
                raise wrong_layout("ade20k", root, f"{part} has no folder {split}")
    for split in REQUIRED_SPLITS:
        try:
            _folders(root, split).suffix()
        except UserError as error:
            raise wrong_layout("ade20k", root, str(error)) from None


def _folders(root: Path, split: str) -> Folders:
    return Folders(root / "images" / split, root / "annotations" / split)


def _split_names(root: Path) -> list[str]:
    """Return `training`, `validation`, and other splits that have both folders."""
    found = sorted(path.name for path in (root / "images").iterdir() if path.is_dir())
    return [name for name in found if (root / "annotations" / name).is_dir()]


def _is_tree(folder: Path) -> bool:
    return all((folder / part / "training").is_dir() for part in _PARTS)


def _read_table(table: Path) -> tuple[str, ...]:
    """Read ADE20K's tab-separated table, whose first line names the columns."""
    rows = [line.split("\t") for line in read_text(table).splitlines() if line]
    header = [cell.strip() for cell in rows[0]] if rows else []
    if "Idx" not in header or "Name" not in header:
        raise UserError(
            f"{table} starts with {header}; expected tab-separated columns with Idx and Name. "
            "Replace it, or write the class names into a classes.txt beside it, one a line."
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
    # Per-class results are stored by name, so equal names would overwrite each other.
    names = tuple(
        long if short.count(name) > 1 else name for name, long in zip(short, full, strict=True)
    )
    require_different(names, table)
    return names


def _labels_alone(part: Folders, images: Sequence[Path]) -> list[Problem]:
    needed = {part.label_map(image) for image in images}
    return [
        Problem(path, "the label map has no image; it is left out", "repaired")
        for path in sorted(part.label_folder.rglob(f"*{LABEL_SUFFIX}"))
        if path not in needed and not is_hidden(path.name)
    ]


def _check_pair(image: Path, part: Folders, num_classes: int, decode: bool) -> Findings:
    findings = Findings()
    picture = inspect(image, decode)
    if picture.fault:
        findings.add(image, picture.fault)
    else:
        findings.repairs = picture.repairs
    path = part.label_map(image)
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
            f"class number, 0 to {num_classes}: write it again as a grey or palette PNG",
        )
        return findings
    if label_map.format == "JPEG":
        findings.add(
            path,
            "the label map is a JPEG, whose compression changes labels into those of other classes; write it "
            "again, from the original labels, as a PNG",
        )
    if picture.size is not None and label_map.size is not None and label_map.size != picture.size:
        findings.add(
            path,
            f"the label map is {label_map.size[0]}×{label_map.size[1]} but its image is "
            f"{picture.size[0]}×{picture.size[1]}; scale one of them (labels without smoothing)",
        )
    if decode:
        _check_labels(path, num_classes, findings)
    return findings


def _check_labels(path: Path, num_classes: int, findings: Findings) -> None:
    """Record which labels a map contains, and report those outside `0..num_classes`."""
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture, dtype=np.uint8)
    except Exception as error:  # Pillow raises nearly anything for damaged files.
        findings.add(path, f"the label map does not decode ({error}): replace it")
        return
    present = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    findings.objects = len(present[present > 0])
    outside = present[present > num_classes].tolist()
    if outside:
        shown = ", ".join(map(str, outside[:5])) + (" …" if len(outside) > 5 else "")
        findings.add(
            path,
            f"the label map holds {shown}; allowed are 0 (no class) to {num_classes}: "
            "set such pixels to 0, or add the missing names to classes.txt",
        )
