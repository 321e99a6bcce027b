"""The ImageFolder layout: `train/CLASS/*.jpg` and `val/CLASS/*.jpg`, as ImageNet is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.datasets.decoding import Progress, count_mends, inspect, map_threaded
from benchmarks.datasets.layout import IMAGE_SUFFIXES, require_folder, wrong_layout
from benchmarks.datasets.report import Problem, VerifyReport

SPLITS = ("train", "val")


def check_layout(root: Path) -> None:
    """Checks that both splits are there and hold class folders.

    Raises:
        UserError: They do not; with what was found and what was expected.
    """
    require_folder("imagefolder", root)
    missing = [split for split in SPLITS if not (root / split).is_dir()]
    if len(missing) == len(SPLITS):
        inner = [path for path in _folders(root) if (path / "train").is_dir()]
        if inner:
            raise wrong_layout(
                "imagefolder", root, "it has no train folder", f"Did you mean {inner[0]}?"
            )
        if any(next(_images(folder), None) for folder in _folders(root)):
            raise wrong_layout(
                "imagefolder",
                root,
                "its class folders are not divided into train and val",
                "Move them to train and val.",
            )
    if missing:
        raise wrong_layout("imagefolder", root, f"it has no folder {' and no '.join(missing)}")
    for split in SPLITS:
        if not _folders(root / split):
            raise wrong_layout(
                "imagefolder",
                root,
                f"{split} has no class folder",
                f"Sort the images of {root / split} into a folder for each class.",
            )


def class_names(root: Path) -> tuple[str, ...]:
    """Returns the class folders of train, sorted by name as torchvision does.

    Raises:
        UserError: The folder is not in this layout.
    """
    check_layout(root)
    return tuple(folder.name for folder in _folders(root / "train"))


def data_paths(root: Path) -> list[Path]:
    """Returns the folders and files that make up the set."""
    check_layout(root)
    return [root / split for split in SPLITS]


def splits(root: Path) -> tuple[list[Path], list[Path]]:
    """Returns the images of train and of val."""
    check_layout(root)
    train, val = (sorted(_images(root / split)) for split in SPLITS)
    return train, val


def check(root: Path, decode: bool = True, progress: Progress | None = None) -> VerifyReport:
    """Checks every class folder and image; see `verify`."""
    names = class_names(root)
    problems: list[Problem] = []
    images: list[Path] = []
    counts = {"images": 0, "objects": 0, "classes": len(names)}
    problems += _differing_classes(root, names)
    for split in SPLITS:
        before = len(images)
        for folder in _folders(root / split):
            found = sorted(_images(folder))
            images += found
            if not found:
                problems.append(
                    Problem(folder, "the class folder has no image; add some or remove the folder")
                )
        counts[f"{split}_images"] = len(images) - before
    counts["images"] = counts["objects"] = len(images)
    pictures = list(map_threaded(partial(inspect, decode=decode), images, progress))
    problems += [
        Problem(path, picture.fault)
        for path, picture in zip(images, pictures, strict=True)
        if picture.fault
    ]
    counts |= count_mends(picture.mends for picture in pictures)
    return VerifyReport("imagefolder", root, counts, tuple(problems))


def _differing_classes(root: Path, train_names: tuple[str, ...]) -> list[Problem]:
    """Returns a problem for each class that only one of the splits has."""
    val_names = {folder.name for folder in _folders(root / "val")}
    only_train = [name for name in train_names if name not in val_names]
    only_val = sorted(val_names.difference(train_names))
    return [
        Problem(root / split / name, f"the class is in {split} only; expected in train and in val")
        for split, names in (("train", only_train), ("val", only_val))
        for name in names
    ]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _images(folder: Path) -> Iterator[Path]:
    """Yields the images below a folder, at any depth."""
    for parent, _, names in os.walk(folder, followlinks=True):
        for name in names:
            if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                yield Path(parent, name)
