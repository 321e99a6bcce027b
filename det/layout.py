"""Where images, boxes and classes of a detection set lie: the layout of Pascal VOC, or COCO's JSON."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdet.datasets import VOCDataset

from contract.errors import UserError
from det import coco
from det.shares import Share, of_share

_EXPECTED = (
    "expected VOC2007/ (and VOC2012/) with JPEGImages/, Annotations/ and ImageSets/Main/*.txt in it, "
    "or these three themselves, or COCO's annotations/instances_{train,val}*.json"
)


@dataclass(frozen=True)
class Split:
    """A list of image names and the folder that they lie in.

    Attributes:
        folder: Holds `JPEGImages/` and `Annotations/`.
        list_file: One image name a line; None where no lists are: the images of `share` then.
        share: See `det.shares`.
    """

    folder: Path
    list_file: Path | None
    share: Share | None = None

    def names(self) -> list[str]:
        """The images' names without suffix, in the list's order."""
        if self.list_file is not None:
            return self.list_file.read_text(encoding="utf-8").split()
        found = sorted(path.stem for path in (self.folder / "Annotations").glob("*.xml"))
        return of_share(found, self.share)

    def annotations(self) -> list[Path]:
        """The XML files of the split, in its order."""
        return [self.folder / "Annotations" / f"{name}.xml" for name in self.names()]

    def dataset(self) -> dict[str, Any]:
        """What a config says of the split."""
        return dict(
            type="DetectionDataset",
            ann_file=str(self.list_file or ""),
            data_prefix=dict(sub_data_root=str(self.folder)),
            **({} if self.share is None else {"share": self.share}),
        )


@dataclass(frozen=True)
class Layout:
    """The splits and classes of a detection set; the union of `train` is trained on."""

    train: tuple[Split | coco.Split, ...]
    test: Split | coco.Split
    classes: tuple[str, ...]


def read_layout(root: Path) -> Layout:
    """Find splits and classes.

    VOC07+12: training on both years' trainval, test on VOC2007's test, as in the paper. A single tree trains on
    trainval (or train and val) and is tested on test; one without test trains on train and is tested on val; one
    without lists is divided by `det.shares`. The same holds for the JSON files of COCO's form.

    Raises:
        UserError: The folder is missing or of another layout, or a split is empty.
    """
    if not root.is_dir():
        raise UserError(f"{root} does not exist; {_EXPECTED}")
    if (splits := coco.find_splits(root)) is not None:
        return Layout(*splits, coco.read_classes((*splits[0], splits[1])))
    if (root / "VOC2007").is_dir():
        years = [root / year for year in ("VOC2007", "VOC2012") if (root / year).is_dir()]
        train, test = _single_tree(years[0])
        for year in years[1:]:
            train = (*train, *_training_splits(_lists(year)))
    else:
        train, test = _single_tree(root)
    for split in (*train, test):
        if not split.names():
            where = split.list_file or f"the {split.share} share of {split.folder}"
            raise UserError(f"{where} lists no image; {_EXPECTED}")
    return Layout(train, test, read_classes(root, (*train, test)))


def _lists(tree: Path) -> dict[str, Split]:
    folder = tree / "ImageSets" / "Main"
    found = {
        name: Split(tree, folder / f"{name}.txt")
        for name in ("train", "val", "trainval", "test")
        if (folder / f"{name}.txt").is_file()
    }
    if not found:
        near = (tree / "VOCdevkit", tree.parent, tree.parent.parent)
        devkit = next((folder for folder in near if (folder / "VOC2007").is_dir()), None)
        hint = f"; give {devkit} instead" if devkit else ""
        raise UserError(
            f"{folder} has no train.txt, val.txt, trainval.txt or test.txt; {_EXPECTED}{hint}"
        )
    return found


def _without_lists(tree: Path) -> bool:
    """Whether it is a user's own tree of images and annotations; a year of the devkit comes with its lists."""
    return (
        (tree / "Annotations").is_dir()
        and (tree / "JPEGImages").is_dir()
        and not (tree / "ImageSets").exists()
    )


def _training_splits(lists: dict[str, Split]) -> tuple[Split, ...]:
    if "trainval" in lists:
        return (lists["trainval"],)
    return tuple(lists[name] for name in ("train", "val") if name in lists)


def _single_tree(tree: Path) -> tuple[tuple[Split, ...], Split]:
    if _without_lists(tree):
        return (Split(tree, None, "train"),), Split(tree, None, "test")
    lists = _lists(tree)
    if "test" in lists:
        train = _training_splits(lists)
        if not train:
            raise UserError(f"{tree} has a test split and nothing to train on; {_EXPECTED}")
        return train, lists["test"]
    if "train" in lists and "val" in lists:
        return (lists["train"],), lists["val"]
    raise UserError(f"{tree} has no split to test on: neither test.txt nor train.txt and val.txt")


def read_classes(root: Path, splits: Iterable[Split]) -> tuple[str, ...]:
    """Class names in label order: `classes.txt`, else VOC's twenty, else the names found, sorted.

    Raises:
        UserError: `classes.txt` is empty, or an annotation is missing or no XML.
    """
    listed = root / "classes.txt"
    if listed.is_file():
        classes = listed.read_text(encoding="utf-8").splitlines()
        named = tuple(name.strip() for name in classes if name.strip())
        if not named:
            raise UserError(f"{listed} names no class; write one a line, or remove the file")
        return named
    found: set[str] = set()
    for split in splits:
        for path in split.annotations():
            found.update(name.text or "" for name in parse_xml(path).iterfind("object/name"))
    voc = VOCDataset.METAINFO["classes"]
    return voc if found <= set(voc) else tuple(sorted(found))


def parse_xml(path: Path) -> ElementTree.ElementTree:
    """Parse an annotation.

    Raises:
        UserError: It is missing or no XML; the message names the file and line.
    """
    try:
        return ElementTree.parse(path)
    except FileNotFoundError:
        raise UserError(f"the annotation {path} does not exist; complete the dataset") from None
    except ElementTree.ParseError as error:
        raise UserError(
            f"the annotation {path} is not well-formed XML ({error}); mend the file, or take its name out of "
            "ImageSets/Main"
        ) from None
