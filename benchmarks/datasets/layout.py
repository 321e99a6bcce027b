"""What the three layouts look like, and the sentences said where a folder is none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from contract.errors import UserError

Kind = Literal["imagefolder", "voc", "coco", "ade20k"]
KINDS: tuple[Kind, ...] = ("imagefolder", "voc", "coco", "ade20k")

# As torchvision's ImageFolder takes them; everything else in a class folder is ignored.
IMAGE_SUFFIXES = frozenset(
    (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)

TREES: dict[Kind, str] = {
    "imagefolder": """\
  ROOT/train/CLASS/*.jpg|png
  ROOT/val/CLASS/*.jpg|png      (the same class folders as in train)""",
    "voc": """\
  ROOT/VOC2007/JPEGImages/ID.jpg        (ROOT is the VOCdevkit folder)
  ROOT/VOC2007/Annotations/ID.xml
  ROOT/VOC2007/ImageSets/Main/{train,val,trainval,test}.txt
  ROOT/VOC2012/…                        (optional, the same folders)
or, for a set of your own, these three folders directly in ROOT; without ImageSets, one image in
five is tested on.""",
    "coco": """\
  ROOT/annotations/instances_{train,val}*.json
  ROOT/{train,val}*/ or ROOT/images/    (with what file_name in the JSON says)
or ROOT/{train,valid,test}/_annotations.coco.json beside the images, or one ROOT/annotations.json, of
which one image in five is tested on.""",
    "ade20k": """\
  ROOT/images/{training,validation}/ID.jpg
  ROOT/annotations/{training,validation}/ID.png   (uint8: 0 is no class, 1…K are the classes)
  ROOT/classes.txt or ROOT/objectInfo150.txt      (the K class names)""",
}

_SOURCES: dict[Kind, str] = {
    "imagefolder": "`python -m benchmarks data prepare imagenette` downloads such a set; of ImageNet it arranges the "
    "archives from https://www.image-net.org (with an account).",
    "voc": "`python -m benchmarks data prepare voc` downloads Pascal VOC.",
    "coco": "COCO is at https://cocodataset.org.",
    "ade20k": "`python -m benchmarks data prepare ade20k` downloads ADE20K.",
}
_GENERATED = (
    "`python -m benchmarks.datasets.miniworld --root DIR` makes a small set in every layout."
)
_LISTED_ENTRIES = 8


def require_folder(kind: Kind, root: Path) -> None:
    """Checks that `root` is a folder with something in it.

    Raises:
        UserError: It is missing, a file, or empty; with the expected tree, the nearest path that
            exists, and how to get the data.
    """
    if root.is_dir():
        if next(root.iterdir(), None) is not None:
            return
        raise UserError(f"the data folder {root} is empty. {_expected(kind)}")
    if root.exists():
        raise UserError(f"the data folder {root} is a file. {_expected(kind)}")
    nearest = next(parent for parent in root.absolute().parents if parent.is_dir())
    raise UserError(
        f"the data folder {root} does not exist. The nearest existing folder is {nearest}, "
        f"which holds: {entries(nearest)}. {_expected(kind)}"
    )


def wrong_layout(kind: Kind, root: Path, found: str, fix: str = "") -> UserError:
    """Builds the error for a folder of another layout.

    Args:
        kind: The layout that was expected.
        root: The folder that the user named.
        found: What was found in place of it, a clause.
        fix: The likeliest remedy, a sentence, where there is one.
    """
    remedy = f" {fix}" if fix else ""
    return UserError(f"{root} is not in the {kind} layout: {found}.{remedy} {_expected(kind)}")


def entries(folder: Path) -> str:
    """Returns the first names in a folder, for a message."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if not names:
        return "nothing"
    rest = len(names) - _LISTED_ENTRIES
    shown = ", ".join(names[:_LISTED_ENTRIES])
    return f"{shown} and {rest} more" if rest > 0 else shown


def named_classes(path: Path) -> tuple[str, ...]:
    """Reads a `classes.txt`: one name a line, or a number counted from 1, a tab and a name.

    Raises:
        UserError: It has no name, a name twice, or numbers that do not count from 1.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    cells = [line.split("\t", maxsplit=1) for line in lines if line]
    if cells and all(len(cell) == 2 and cell[0].isdigit() for cell in cells):
        numbers = [int(cell[0]) for cell in cells]
        if numbers != list(range(1, len(cells) + 1)):
            raise UserError(
                f"{path} numbers its classes {numbers[:3]}…; expected 1, 2, 3 and so on in order, "
                "as 0 stands for pixels of no class. Number them anew, or leave numbers out."
            )
    names = tuple(cell[-1].strip() for cell in cells)
    if not names:
        raise UserError(f"{path} names no class; expected one class name a line.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"{path} names {', '.join(map(repr, repeated))} twice; names must differ.")
    return names


def _expected(kind: Kind) -> str:
    return f"Expected:\n{TREES[kind]}\n{_SOURCES[kind]} {_GENERATED}"
