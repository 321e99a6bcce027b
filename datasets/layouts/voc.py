"""The Pascal VOC layout: a devkit with a tree per year, or a single tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from contract.errors import UserError, unknown
from datasets.images import (
    IMAGE_SUFFIXES,
    Picture,
    Progress,
    count_repairs,
    inspect,
    is_hidden,
    map_threaded,
    upright_size,
)
from datasets.layouts.folder import wrong_layout
from datasets.layouts.names import read_classes, read_list
from datasets.layouts.voc_folders import PARTS, holds_tree, is_undivided, list_files, trees
from datasets.layouts.voc_xml import Annotation, VocObject, read_annotation, trained_objects
from datasets.records import DetectionSample, Size, Splits, clip, dropped_because
from datasets.report import Findings, Severity, VerifyReport
from datasets.split import Split, keeps

# In the alphabetical order of the Pascal VOC devkit (VOCinit.m).
VOC_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)


@dataclass(frozen=True)
class Entry:
    """An image of a tree.

    Attributes:
        tree: The folder with `JPEGImages`, `Annotations` and `ImageSets`.
        name: File name without suffix.
    """

    tree: Path
    name: str

    @property
    def image(self) -> Path:
        """The path of the image."""
        return self.tree / "JPEGImages" / f"{self.name}.jpg"

    @property
    def annotation(self) -> Path:
        """The path of the annotation."""
        return self.tree / "Annotations" / f"{self.name}.xml"

    def sample(self) -> DetectionSample:
        """Return the image with its boxes, whose pixels are counted from 0.

        Raises:
            UserError: The annotation is missing or damaged, or neither annotation nor image gives the size.
        """
        annotation = read_annotation(self.annotation)
        width, height = map(int, annotation.size)
        size = (width, height) if width > 0 and height > 0 else upright_size(self.image)
        objects = trained_objects(annotation, self.annotation)
        return DetectionSample(self.image, self.name, size, objects, self.annotation.name)


@dataclass(frozen=True)
class ImageList:
    """The images of one list, or of one split of a tree without lists.

    Attributes:
        tree: The folder with `JPEGImages` and `Annotations`.
        list_file: One image name per line; None for a tree without lists.
        split: The split to take from a tree without lists; see `datasets.split`.
    """

    tree: Path
    list_file: Path | None
    split: Split | None = None

    def names(self) -> list[str]:
        """Return the names of the images without suffix, in the order of the list, or sorted."""
        if self.list_file is not None:
            return read_list(self.list_file)
        found = (path.stem for path in (self.tree / "Annotations").glob("*.xml"))
        return sorted(name for name in found if keeps(name, self.split) and not is_hidden(name))

    def entries(self) -> list[Entry]:
        """Return the images in the same order."""
        return [Entry(self.tree, name) for name in self.names()]

    def images(self) -> list[Path]:
        """Return the image files in the same order."""
        return [entry.image for entry in self.entries()]

    def samples(self, held_out: bool | None = None) -> list[DetectionSample]:
        """Return the images with their boxes; see `Entry.sample`.

        Args:
            held_out: Keep one side of the images; see `datasets.split.keeps`.
        """
        return [entry.sample() for entry in self.entries() if keeps(entry.name, None, held_out)]


def find(root: Path) -> bool:
    """Return whether a folder looks like this layout."""
    return holds_tree(root)


def splits(root: Path) -> Splits[ImageList]:
    """Return the lists to train on and the list to test on.

    The first tree with a test list is tested on. If there is none, the val list of the first tree with train and val
    lists is tested on, and only its train list is trained on. All other training images come from the trainval list
    of each tree, or from train and val. Thus VOC07+12 trains on trainval of both years and tests on VOC2007's test,
    as is common. A tree without lists is divided by `datasets.split`.

    Raises:
        UserError: The folder is not in this layout, or has nothing to train on or to test on.
    """
    found = trees(root)
    if is_undivided(root):
        return _with_images(
            Splits((ImageList(root, None, "train"),), ImageList(root, None, "test"))
        )
    lists = {tree: _lists(tree) for tree in found}
    tested = next((tree for tree in found if "test" in lists[tree]), None)
    if tested is not None:
        test, train_only = lists[tested]["test"], None
    else:
        train_only = next((tree for tree in found if {"train", "val"} <= lists[tree].keys()), None)
        if train_only is None:
            raise wrong_layout(
                "voc",
                root,
                f"{found[0]} has no split to test on: neither test.txt nor train.txt and val.txt",
            )
        test = lists[train_only]["val"]
    train = [
        part
        for tree in found
        for part in ([lists[tree]["train"]] if tree == train_only else _trained(lists[tree]))
    ]
    if not train:
        raise wrong_layout("voc", root, f"{found[0]} has a test split and nothing to train on")
    return _with_images(Splits(tuple(train), test))


def classes(root: Path) -> tuple[str, ...]:
    """Return the classes of a dataset.

    They come from `classes.txt` if it exists. Otherwise they are Pascal VOC's twenty classes in official order if no
    other name occurs, or else the sorted names in the training and test annotations.

    Raises:
        UserError: The folder is not in this layout, an annotation is damaged, or no object has a name.
    """
    if (root / "classes.txt").is_file():
        return read_classes(root / "classes.txt")
    return _classes_of(root, [read_annotation(entry.annotation) for entry in entries(root)])


def entries(root: Path) -> list[Entry]:
    """Return every training and test image once, in order.

    Raises:
        UserError: See `splits`.
    """
    found = splits(root)
    parts = (*found.train, found.test)
    return list(dict.fromkeys(entry for part in parts for entry in part.entries()))


def data_paths(root: Path) -> list[Path]:
    """Return the folders and files that make up the dataset, without reading one; some may not exist."""
    paths = [tree / part for tree in trees(root) for part in PARTS]
    return [*paths, root / "classes.txt"]


def check(root: Path, decode: bool = True, progress: Progress | None = None) -> VerifyReport:
    """Check every training and test image and its annotation; see `datasets.verify`."""
    found = entries(root)
    names = _checked_classes(root, found)
    check_one = partial(_check_entry, names=names, decode=decode)
    checked = list(map_threaded(check_one, found, progress))
    counts = {
        "images": len(found),
        "objects": sum(findings.objects for findings in checked),
        "classes": len(names or ()),
        **count_repairs(findings.repairs for findings in checked),
    }
    problems = [problem for findings in checked for problem in findings.problems]
    return VerifyReport("voc", root, counts, tuple(problems))


def _lists(tree: Path) -> dict[str, ImageList]:
    return {name: ImageList(tree, path) for name, path in list_files(tree).items()}


def _trained(lists: dict[str, ImageList]) -> list[ImageList]:
    if "trainval" in lists:
        return [lists["trainval"]]
    return [lists[name] for name in ("train", "val") if name in lists]


def _with_images(found: Splits[ImageList]) -> Splits[ImageList]:
    for part in (*found.train, found.test):
        if not part.names():
            where = part.list_file or f"the {part.split} split of {part.tree}"
            raise UserError(
                f"{where} lists no image; expected one image name without suffix a line, or no "
                "ImageSets and one XML an image."
            )
    return found


def _classes_of(root: Path, annotations: list[Annotation]) -> tuple[str, ...]:
    found = {each.name for annotation in annotations for each in annotation.objects} - {""}
    if not found:
        raise UserError(
            f"no annotation under {root} has a named object, so its classes are unknown; "
            f"add the objects, or the class names to {root / 'classes.txt'}, one a line."
        )
    return VOC_NAMES if found.issubset(VOC_NAMES) else tuple(sorted(found))


def _checked_classes(root: Path, found: list[Entry]) -> tuple[str, ...] | None:
    """Return the classes of the readable annotations; None if there are none and an annotation is damaged."""
    if (root / "classes.txt").is_file():
        return read_classes(root / "classes.txt")
    annotations, damaged = [], False
    for entry in found:
        try:
            annotations.append(read_annotation(entry.annotation))
        except UserError:
            damaged = True  # `_check_entry` reports it.
    try:
        return _classes_of(root, annotations)
    except UserError:
        if damaged:
            return None
        raise


def _check_entry(entry: Entry, names: tuple[str, ...] | None, decode: bool) -> Findings:
    findings = Findings()
    picture = inspect(entry.image, decode)
    if picture.fault:
        findings.add(entry.image, picture.fault + _other_suffix(entry))
    else:
        findings.repairs = picture.repairs
    if not entry.annotation.is_file():
        message = f"{entry.image.name} has no annotation; add it or take the image off the lists"
        findings.add(entry.annotation, message)
        return findings
    try:
        annotation = read_annotation(entry.annotation)
    except UserError as error:
        findings.add(entry.annotation, str(error))
        return findings
    size = _image_size(entry, annotation, picture, findings)
    findings.objects = len(annotation.objects)
    for number, found in enumerate(annotation.objects, start=1):
        for message, severity in _object_problems(found, size, names):
            findings.add(entry.annotation, f"object {number}: {message}", severity)
    return findings


def _other_suffix(entry: Entry) -> str:
    """Return a hint if the image exists with another suffix."""
    for path in sorted(entry.image.parent.glob(f"{entry.name}.*")):
        if path != entry.image and path.suffix.lower() in IMAGE_SUFFIXES:
            return f". There is {path.name}: rename it to .jpg, its content is read all the same"
    return ""


def _image_size(
    entry: Entry, annotation: Annotation, picture: Picture, findings: Findings
) -> Size | None:
    """Return the true width and height of the image, or those of the annotation if it cannot be read."""
    width, height = annotation.size
    if picture.size is None:
        return annotation.size if width and height else None
    if not width or not height:
        message = f"<size> is {width:g}×{height:g}; the image's own is used"
        findings.add(entry.annotation, message, "repaired")
    elif annotation.size != picture.size:
        findings.add(
            entry.annotation,
            f"<size> is {width:g}×{height:g} but the image is {picture.size[0]}×{picture.size[1]}, so the "
            "boxes may belong to another picture; make image, boxes and <size> agree",
        )
    return picture.size


def _object_problems(
    found: VocObject, size: Size | None, names: tuple[str, ...] | None
) -> Iterator[tuple[str, Severity]]:
    """Yield message and severity of each problem of an `<object>`."""
    if names is not None and found.name not in names:
        yield str(unknown("class", found.name, names)), "error"
    if found.unclear_difficult:
        read = f"it is read as {found.is_difficult:d}"
        yield (
            f"<difficult> is {found.difficult or '':.20} which is not a number; {read}",
            "repaired",
        )
    box = found.box
    if box is None:
        yield (
            "<bndbox> has a missing corner or one that is not a number; expected 4 numbers",
            "error",
        )
        return
    shown = f"the box ({', '.join(f'{corner:g}' for corner in found.corners)})"
    # If the size is unknown, only a box without area can be reported.
    width, height = size or (float("inf"), float("inf"))
    if clip(box, (width, height)) is None:
        yield f"{shown} {dropped_because(box, (width, height))}", "repaired"
    elif min(box[:2]) < 0 or box[2] >= width or box[3] >= height:
        yield f"{shown} reaches beyond the {width:g}×{height:g} image; it is clipped", "repaired"
