"""The ImageFolder layout, as used for ImageNet: `train/CLASS/*.jpg` and `val/CLASS/*.jpg`, or packed.

`python -m benchmarks data pack` makes the packed form, which `datasets.packed` reads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from contract.errors import UserError
from datasets import listing
from datasets.images import (
    Picture,
    Progress,
    count_repairs,
    image_files,
    images_below,
    inspect,
    is_hidden,
    is_image,
    map_threaded,
)
from datasets.layouts.folder import require_folder, wrong_layout
from datasets.listing import Listing
from datasets.made import MADE_FILE
from datasets.packed.check import inspect_packed
from datasets.packed.index import is_packed, packed_files
from datasets.packed.part import Packed
from datasets.records import Splits
from datasets.report import Problem, VerifyReport
from datasets.samples import Samples
from datasets.texts import Texts

KIND = "imagefolder"
SPLITS = ("train", "val")


@dataclass(frozen=True)
class Folder:
    """The images of one split.

    Attributes:
        folder: Contains a folder of images for each class.
    """

    folder: Path

    def classes(self) -> tuple[str, ...]:
        """Return the class folders in the order of the labels: sorted by name, as in torchvision.

        Raises:
            UserError: The folder is missing or has no class folders.
        """
        if not self.folder.is_dir():
            raise UserError(
                f"{self.folder} does not exist; classification data has the layout {{train,val}}/<class>/*.jpg"
            )
        found = tuple(folder.name for folder in _folders(self.folder))
        if not found:
            raise UserError(
                f"{self.folder} has no class folders; images are in {self.folder}/<class>/*.jpg"
            )
        return found

    def samples(self) -> Samples:
        """Return the images with the index of their class, class by class.

        Raises:
            UserError: The folder has no class folders, or a class folder has no image.
        """
        known = listing.of_run(KIND, self.folder.parent)
        by_class = {} if known is None else _names_by_class(known, self.folder.name)
        start = len(str(self.folder)) + 1
        names: list[str] = []
        counts: list[int] = []
        for name in self.classes():
            images = by_class.get(name)
            if images is None:
                images = [file[start:] for file in image_files(self.folder / name)]
            if not images:
                raise UserError(
                    f"{self.folder / name} has no image; every class folder of {self.folder} needs an image"
                )
            names += images
            counts.append(len(images))
        labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        return Samples(self.folder, Texts.of(names), labels)

    def images(self) -> list[Path]:
        """Return the images, class by class."""
        return [image for folder in _folders(self.folder) for image in images_below(folder)]

    def names(self) -> list[str]:
        """Return the names of the images without folder and suffix."""
        return [image.stem for image in self.images()]


def open_split(folder: Path) -> Folder | Packed:
    """Return a split's images, packed or not.

    Args:
        folder: The split's folder, such as `data/imagenet/train`.
    """
    return Packed(folder) if is_packed(folder.parent) else Folder(folder)


def find(root: Path) -> bool:
    """Return whether a folder looks like this layout."""
    return is_packed(root) or all(
        (root / split).is_dir() and _folders(root / split) for split in SPLITS
    )


def splits(root: Path) -> Splits[Folder | Packed]:
    """Return the images to train on and to test on.

    Raises:
        UserError: The folder is not in this layout. The message says what was found and what was expected.
    """
    _require_layout(root)
    return Splits((open_split(root / "train"),), open_split(root / "val"))


def classes(root: Path) -> tuple[str, ...]:
    """Return the class folders of train, sorted by name.

    Raises:
        UserError: The folder is not in this layout.
    """
    return splits(root).train[0].classes()


def data_paths(root: Path) -> list[Path]:
    """Return the files and folders that make up the dataset, without reading an image."""
    _require_layout(root)
    made = root / MADE_FILE
    if is_packed(root):
        return [*packed_files(root), made]
    return [*(root / split for split in SPLITS), made]


def check(root: Path, decode: bool = True, progress: Progress | None = None) -> VerifyReport:
    """Check every class folder and image; see `datasets.verify`."""
    found = splits(root)
    names = found.train[0].classes()
    images: list[Path] = []
    problems: list[Problem] = []
    pictures: Sequence[Picture]
    counts = {"images": 0, "objects": 0, "classes": len(names)}
    if is_packed(root):
        parts = [Packed(root / split) for split in SPLITS]
        pictures = inspect_packed([part.samples() for part in parts], decode, progress)
        for part in parts:
            images += part.images()
            counts[f"{part.folder.name}_images"] = len(part.samples())
    else:
        problems += _differing_classes(root, names)
        for split in SPLITS:
            before = len(images)
            for folder in _folders(root / split):
                inside = list(images_below(folder))
                images += inside
                if not inside:
                    message = "the class folder has no image; add some or remove the folder"
                    problems.append(Problem(folder, message))
            counts[f"{split}_images"] = len(images) - before
        pictures = list(map_threaded(partial(inspect, decode=decode), images, progress))
    counts["images"] = counts["objects"] = len(images)
    problems += [
        Problem(path, picture.fault)
        for path, picture in zip(images, pictures, strict=True)
        if picture.fault
    ]
    counts |= count_repairs(picture.repairs for picture in pictures)
    return VerifyReport(KIND, root, counts, tuple(problems))


def _names_by_class(known: Listing, split: str) -> dict[str, list[str]]:
    """Return the images of a split by class, relative to the split, in the order of `image_files`."""
    by_folder: dict[str, list[str]] = {}
    for name in known.names:
        folder, _, base = name.rpartition("/")
        top, _, inner = folder.partition("/")
        if top == split and inner and is_image(base):
            by_folder.setdefault(inner, []).append(f"{inner}/{base}")
    found: dict[str, list[str]] = {}
    for folder in sorted(by_folder):
        name, *deeper = folder.split("/")
        if not any(map(is_hidden, deeper)):
            found.setdefault(name, []).extend(by_folder[folder])
    return found


def _require_layout(root: Path) -> None:
    require_folder(KIND, root)
    if is_packed(root):
        return
    missing = [split for split in SPLITS if not (root / split).is_dir()]
    if len(missing) == len(SPLITS):
        inner = [path for path in _folders(root) if (path / "train").is_dir()]
        if inner:
            raise wrong_layout(KIND, root, "it has no train folder", f"Did you mean {inner[0]}?")
        if any(next(images_below(folder), None) for folder in _folders(root)):
            raise wrong_layout(
                KIND,
                root,
                "its class folders are not divided into train and val",
                "Move them to train and val.",
            )
    if missing:
        raise wrong_layout(KIND, root, f"it has no folder {' and no '.join(missing)}")
    for split in SPLITS:
        if not _folders(root / split):
            raise wrong_layout(
                KIND,
                root,
                f"{split} has no class folder",
                f"Sort the images of {root / split} into a folder for each class.",
            )


def _differing_classes(root: Path, train_names: Sequence[str]) -> list[Problem]:
    """Return a problem for each class that exists in only one split."""
    val_names = {folder.name for folder in _folders(root / "val")}
    only_train = [name for name in train_names if name not in val_names]
    only_val = sorted(val_names.difference(train_names))
    return [
        Problem(root / split / name, f"the class is in {split} only; expected in train and in val")
        for split, names in (("train", only_train), ("val", only_val))
        for name in names
    ]


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, except hidden ones such as a notebook's checkpoints."""
    # Unlike `Path.is_dir`, an entry knows its kind without asking the file system.
    with os.scandir(folder) as entries:
        inside = [Path(each) for each in entries if each.is_dir() and not is_hidden(each.name)]
    return sorted(inside, key=lambda path: path.name)
