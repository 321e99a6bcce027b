"""The Pascal VOC layout: `VOCdevkit/VOC2007`, `VOC2012`, or one such tree of the user's own."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.datasets.decoding import Picture, Progress, count_mends, inspect, map_threaded
from benchmarks.datasets.layout import (
    IMAGE_SUFFIXES,
    named_classes,
    require_folder,
    wrong_layout,
)
from benchmarks.datasets.names import VOC_NAMES
from benchmarks.datasets.report import Problem, Severity, VerifyReport
from benchmarks.datasets.shares import divide
from contract.errors import UserError, unknown

SPLITS = ("train", "val", "trainval", "test")
_YEAR = re.compile(r"VOC\d{4}")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Entry:
    """An image that the lists name.

    Attributes:
        tree: The folder with `JPEGImages`, `Annotations` and `ImageSets`.
        image_id: File name without suffix.
    """

    tree: Path
    image_id: str

    @property
    def image(self) -> Path:
        """Where the image lies."""
        return self.tree / "JPEGImages" / f"{self.image_id}.jpg"

    @property
    def annotation(self) -> Path:
        """Where the annotation lies."""
        return self.tree / "Annotations" / f"{self.image_id}.xml"


@dataclass
class _Findings:
    """What checking one image gave."""

    objects: int = 0
    mends: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)

    def add(self, path: Path, message: str, severity: Severity = "error") -> None:
        self.problems.append(Problem(path, message, severity))


def trees(root: Path) -> list[Path]:
    """Returns the folders of the years, or `root` itself where it is a single tree.

    Raises:
        UserError: The folder is not in this layout; with the folder that was meant, if one is near.
    """
    require_folder("voc", root)
    years = sorted(path for path in root.iterdir() if path.is_dir() and _YEAR.fullmatch(path.name))
    if not years and not _is_tree(root):
        raise _not_a_devkit(root)
    if not years and _YEAR.fullmatch(root.resolve().name):
        raise wrong_layout(
            "voc",
            root,
            "it is one year of the devkit, not the devkit",
            f"Name the folder above it: {root.resolve().parent}.",
        )
    found = years or [root]
    if _is_undivided(root):
        return found
    for tree in found:
        if _missing(tree):
            raise wrong_layout("voc", root, f"{tree} lacks {' and '.join(_missing(tree))}")
        if not _lists(tree):
            raise wrong_layout(
                "voc",
                root,
                f"{tree / 'ImageSets' / 'Main'} has none of {', '.join(SPLITS)} as .txt",
                "List there the images of each split, one name without suffix a line.",
            )
    return found


def _not_a_devkit(root: Path) -> UserError:
    """Builds the error for a folder without a tree, pointing at a tree below it or above it."""
    inner = [path for path in sorted(root.iterdir()) if path.is_dir() and _holds_tree(path)]
    if inner:
        return wrong_layout("voc", root, "it has no VOC2007 folder", f"Did you mean {inner[0]}?")
    above = root.resolve().parent
    if _is_tree(above):
        meant = above.parent if _YEAR.fullmatch(above.name) else above
        return wrong_layout("voc", root, "it is a part of a tree", f"Did you mean {meant}?")
    present = [name for name in _PARTS if (root / name).is_dir()]
    lacking = ", ".join(_missing(root)) if present else "VOC2007 and VOC2012"
    return wrong_layout("voc", root, f"it has no {lacking}")


_LISTS = "ImageSets/Main"
_PARTS = ("Annotations", "JPEGImages", _LISTS)


def _missing(tree: Path) -> list[str]:
    return [name for name in _PARTS if not (tree / name).is_dir()]


def _is_tree(folder: Path) -> bool:
    """Tells whether images and annotations are there; a tree of the user's own may do without lists."""
    return not set(_missing(folder)) - {_LISTS}


def _is_undivided(root: Path) -> bool:
    """Tells whether it is a tree of the user's own without lists; one image in five is tested on then."""
    return _is_tree(root) and not (root / "ImageSets").exists()


def _holds_tree(folder: Path) -> bool:
    return _is_tree(folder) or any(_is_tree(path) for path in folder.glob("VOC[0-9]*"))


def _lists(tree: Path) -> list[Path]:
    paths = [tree / "ImageSets" / "Main" / f"{split}.txt" for split in SPLITS]
    return [path for path in paths if path.is_file()]


def entries(root: Path) -> list[Entry]:
    """Returns every image that a list of any split names, once, in order.

    Raises:
        UserError: The folder is not in this layout, or its lists are empty.
    """
    found: dict[Entry, None] = {}
    if _is_undivided(root):
        found = dict.fromkeys(Entry(root, name) for name in _annotated(root))
    for tree in trees(root):
        for path in _lists(tree):
            for line in path.read_text(encoding="utf-8-sig").splitlines():
                if line.strip():
                    found[Entry(tree, line.split()[0])] = None
    if not found:
        raise UserError(
            f"the lists in ImageSets/Main under {root} name no image; "
            "expected one image name without suffix a line, or no ImageSets and one XML an image."
        )
    return list(found)


def class_names(root: Path) -> tuple[str, ...]:
    """Returns the classes of a set.

    They are those of `classes.txt` where there is one; else Pascal VOC's twenty in their official
    order where no other name occurs; else the names that occur, sorted.

    Raises:
        UserError: The folder is not in this layout, or no object has a name.
    """
    listed = root / "classes.txt"
    if listed.is_file():
        return named_classes(listed)
    found: set[str] = set()
    for entry in entries(root):
        try:
            document = ET.parse(entry.annotation).getroot()
        except (OSError, ET.ParseError):
            continue  # `check` reports the file.
        found.update((node.text or "").strip() for node in document.iterfind("object/name"))
    found.discard("")
    if not found:
        raise UserError(
            f"no annotation under {root} has a named object, so its classes are unknown; "
            f"add the objects, or the class names to {listed}, one a line."
        )
    return VOC_NAMES if found.issubset(VOC_NAMES) else tuple(sorted(found))


def splits(root: Path) -> tuple[list[Path], list[Path]]:
    """Returns the images that are trained on and those that are tested on.

    Test is VOC2007's test, or that of a single tree; where there is none, the first tree's val is, and its train alone
    is trained on. Of further years trainval, or train and val, are trained on. A tree without lists is divided by
    `shares`.
    """
    if _is_undivided(root):
        return divide([Entry(root, name).image for name in _annotated(root)])
    first, *others = trees(root)
    test = _listed(first, "test")
    train = _listed(first, "trainval") or _listed(first, "train", "val")
    if not test:
        train, test = _listed(first, "train"), _listed(first, "val")
    for tree in others:
        train += _listed(tree, "trainval") or _listed(tree, "train", "val")
    return train, test


def _annotated(tree: Path) -> list[str]:
    """Returns the names that have an annotation, sorted."""
    return sorted(path.stem for path in (tree / "Annotations").glob("*.xml"))


def _listed(tree: Path, *names: str) -> list[Path]:
    """Returns the images that lists of a tree name."""
    found = []
    for name in names:
        path = tree / "ImageSets" / "Main" / f"{name}.txt"
        if path.is_file():
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            found += [Entry(tree, line.split()[0]).image for line in lines if line.strip()]
    return found


def data_paths(root: Path) -> list[Path]:
    """Returns the folders and files that make up the set."""
    paths = [tree / part for tree in trees(root) for part in _PARTS]
    return [*paths, root / "classes.txt"]


def check(root: Path, decode: bool = True, progress: Progress | None = None) -> VerifyReport:
    """Checks every listed image and its annotation; see `verify`."""
    found = entries(root)
    names = class_names(root)
    check_one = partial(_check_entry, names=names, decode=decode)
    checked = list(map_threaded(check_one, found, progress))
    counts = {
        "images": len(found),
        "objects": sum(findings.objects for findings in checked),
        "classes": len(names),
        **count_mends(findings.mends for findings in checked),
    }
    problems = [problem for findings in checked for problem in findings.problems]
    return VerifyReport("voc", root, counts, tuple(problems))


def _check_entry(entry: Entry, names: tuple[str, ...], decode: bool) -> _Findings:
    findings = _Findings()
    picture = inspect(entry.image, decode)
    if picture.fault:
        findings.add(entry.image, picture.fault + _other_suffix(entry))
    else:
        findings.mends = picture.mends
    try:
        document = ET.parse(entry.annotation).getroot()
    except FileNotFoundError:
        message = f"{entry.image.name} has no annotation; add it or take the image off the lists"
        findings.add(entry.annotation, message)
        return findings
    except (ET.ParseError, OSError, ValueError) as error:
        findings.add(entry.annotation, f"the annotation is not XML ({error}); get it anew")
        return findings
    size = _image_size(entry, document, picture, findings)
    for number, node in enumerate(document.iterfind("object"), start=1):
        findings.objects += 1
        for message, severity in _object_problems(node, size, names):
            findings.add(entry.annotation, f"object {number}: {message}", severity)
    return findings


def _other_suffix(entry: Entry) -> str:
    """Returns a hint where the image is there under another suffix."""
    for path in sorted(entry.image.parent.glob(f"{entry.image_id}.*")):
        if path != entry.image and path.suffix.lower() in IMAGE_SUFFIXES:
            return f". There is {path.name}: rename it to .jpg, its content is read all the same"
    return ""


def _image_size(
    entry: Entry, document: ET.Element, picture: Picture, findings: _Findings
) -> tuple[float, float] | None:
    """Returns the picture's true width and height, or the annotation's if it can't be read."""
    told = (_number(document, "size/width"), _number(document, "size/height"))
    if picture.size is None:
        return (told[0], told[1]) if told[0] and told[1] else None
    if not told[0] or not told[1]:
        message = f"<size> is {told[0] or 0:g}×{told[1] or 0:g}; the image's own is used"
        findings.add(entry.annotation, message, "mended")
    elif told != picture.size:
        width, height = picture.size
        findings.add(
            entry.annotation,
            f"<size> is {told[0]:g}×{told[1]:g} but the image is {width}×{height}, so the boxes "
            "may belong to another picture; bring image, boxes and <size> into line",
        )
    return picture.size


def _number(node: ET.Element, path: str) -> float | None:
    """Returns the number at `path` below `node`, or None where there is none."""
    try:
        return float(node.findtext(path) or "")
    except ValueError:
        return None


def _object_problems(
    node: ET.Element, size: tuple[float, float] | None, names: tuple[str, ...]
) -> Iterator[tuple[str, Severity]]:
    """Yields what is wrong with one `<object>`: message and severity."""
    name = (node.findtext("name") or "").strip()
    if name not in names:
        yield str(unknown("class", name, names)), "error"
    numbers = [_number(node, f"bndbox/{corner}") for corner in _CORNERS]
    corners = [number for number in numbers if number is not None]
    if len(corners) < len(_CORNERS):
        yield "<bndbox> lacks a corner or has one that is no number; expected 4 numbers", "error"
        return
    yield from _box_problems((corners[0], corners[1], corners[2], corners[3]), size)


def _box_problems(box: Box, size: tuple[float, float] | None) -> Iterator[tuple[str, Severity]]:
    """Yields what is wrong with a box whose pixels are counted from 1, ends included."""
    xmin, ymin, xmax, ymax = box
    shown = f"the box ({xmin:g}, {ymin:g}, {xmax:g}, {ymax:g})"
    # NaN compares false with everything, so the condition asks for what is right.
    if not (xmax > xmin and ymax > ymin):
        yield f"{shown} has no area; it is dropped", "mended"
        return
    if size is None:
        return
    width, height = size
    if xmin > width or ymin > height or xmax < 1 or ymax < 1:
        yield f"{shown} lies outside the {width:g}×{height:g} image; it is dropped", "mended"
    elif xmin < 1 or ymin < 1 or xmax > width or ymax > height:
        yield f"{shown} reaches beyond the {width:g}×{height:g} image; it is clipped", "mended"
