"""The folder tree of each layout, and the errors for a folder that does not match it."""

from __future__ import annotations

from pathlib import Path

from contract.errors import UserError
from datasets.images import is_hidden
from datasets.kinds import Kind

TREES: dict[Kind, str] = {
    "imagefolder": """\
  ROOT/train/CLASS/*.jpg|png
  ROOT/val/CLASS/*.jpg|png      (the same class folders as in train)""",
    "voc": """\
  ROOT/VOC2007/JPEGImages/ID.jpg        (ROOT is the VOCdevkit folder)
  ROOT/VOC2007/Annotations/ID.xml
  ROOT/VOC2007/ImageSets/Main/{train,val,trainval,test}.txt
  ROOT/VOC2012/…                        (further years are optional; all are trained on, one is tested on)
or, for a dataset of your own, these three folders directly in ROOT; without ImageSets, one image in
five is tested on.""",
    "coco": """\
  ROOT/annotations/instances_{train,val}*.json
  ROOT/{train,val}*/ or ROOT/images/    (with what file_name in the JSON says)
or ROOT/{train,valid,test}/_annotations.coco.json beside the images, or one ROOT/annotations.json, of
which one image in five is tested on.""",
    "ade20k": """\
  ROOT/images/{training,validation}/ID.jpg        (or another suffix, the same for all images of a split)
  ROOT/annotations/{training,validation}/ID.png   (uint8: 0 is no class, 1…K are the classes)
  ROOT/classes.txt or ROOT/objectInfo150.txt      (the K class names)""",
}

_SOURCES: dict[Kind, str] = {
    "imagefolder": "`python -m benchmarks data prepare imagenette` downloads such a dataset; for ImageNet it arranges "
    "the archives from https://www.image-net.org (with an account).",
    "voc": "`python -m benchmarks data prepare voc` downloads Pascal VOC.",
    "coco": "COCO is at https://cocodataset.org.",
    "ade20k": "`python -m benchmarks data prepare ade20k` downloads ADE20K.",
}
_GENERATED = "`python -m datasets.miniworld --root DIR` makes a small dataset in every layout."
_LISTED_ENTRIES = 8


def require_folder(kind: Kind, root: Path) -> None:
    """Check that `root` is a folder and not empty.

    Raises:
        UserError: The folder is missing, a file, or empty. The message shows the expected tree, the nearest existing
            path, and how to get the data.
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
    """Build the error for a folder of another layout.

    Args:
        kind: The layout that was expected.
        root: The folder that the user named.
        found: What was found instead, as a clause.
        fix: The most likely fix, as a sentence, or an empty string.
    """
    remedy = f" {fix}" if fix else ""
    return UserError(f"{root} is not in the {kind} layout: {found}.{remedy} {_expected(kind)}")


def entries(folder: Path) -> str:
    """Return the first names in a folder, for a message."""
    names = sorted(path.name for path in folder.iterdir() if not is_hidden(path.name))
    if not names:
        return "nothing"
    rest = len(names) - _LISTED_ENTRIES
    shown = ", ".join(names[:_LISTED_ENTRIES])
    return f"{shown} and {rest} more" if rest > 0 else shown


def _expected(kind: Kind) -> str:
    return f"Expected:\n{TREES[kind]}\n{_SOURCES[kind]} {_GENERATED}"
