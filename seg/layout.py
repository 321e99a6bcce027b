"""Where images, label maps and classes lie in a folder of the ADE20K layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contract.errors import UserError
from seg.labels import IGNORED

_EXPECTED = (
    "expected images/{training,validation}/*.jpg and annotations/{training,validation}/*.png in it, "
    "and classes.txt or objectInfo150.txt"
)


@dataclass(frozen=True)
class Layout:
    """A segmentation set: classes in label order (label 1 is the first; 0 is ignored) and image suffixes."""

    root: Path
    classes: tuple[str, ...]
    train_suffix: str
    test_suffix: str


def read_layout(root: Path) -> Layout:
    """Find the splits and classes of a set.

    Raises:
        UserError: A folder is missing, has no images, or nothing names the classes.
    """
    for part in ("images", "annotations"):
        for split in ("training", "validation"):
            if not (root / part / split).is_dir():
                raise UserError(f"{root / part / split} does not exist; {_EXPECTED}")
    return Layout(root, read_classes(root), *(_suffix(root, s) for s in ("training", "validation")))


def _suffix(root: Path, split: str) -> str:
    """The one suffix of a split's images; every image needs a label map of the same name."""
    folder = root / "images" / split
    images = [p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png")]
    suffixes = sorted({path.suffix for path in images})
    if len(suffixes) != 1:
        found = f"images of the kinds {suffixes}" if suffixes else "no images"
        raise UserError(f"{folder} holds {found}; one kind is expected; {_EXPECTED}")
    for image in images:
        label_map = root / "annotations" / split / f"{image.stem}.png"
        if not label_map.is_file():
            raise UserError(f"{image} has no label map {label_map}; add it or remove the image")
    return suffixes[0]


def read_classes(root: Path) -> tuple[str, ...]:
    """Class names from `classes.txt` (one a line) or ADE20K's own `objectInfo150.txt`.

    Raises:
        UserError: Neither file is there, or it names no class or more than label maps can tell apart.
    """
    listed, info = root / "classes.txt", root / "objectInfo150.txt"
    if listed.is_file():
        lines = listed.read_text(encoding="utf-8").splitlines()
        return _checked(listed, [line.strip() for line in lines if line.strip()])
    if info.is_file():
        rows = info.read_text(encoding="utf-8").splitlines()[1:]
        return _checked(
            info, [row.split("\t")[-1].split(",")[0].strip() for row in rows if row.strip()]
        )
    raise UserError(
        f"{root} has neither classes.txt nor objectInfo150.txt; write the class names into {listed}, one a "
        "line, the name of label 1 first"
    )


def _checked(file: Path, classes: list[str]) -> tuple[str, ...]:
    if not 0 < len(classes) < IGNORED:
        raise UserError(
            f"{file} names {len(classes)} classes; 1 to {IGNORED - 1} fit into label maps of 8 bits, where "
            f"0 and {IGNORED} are ignored"
        )
    return tuple(classes)
