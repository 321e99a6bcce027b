"""The ImageFolder layout, as used for ImageNet: `train/CLASS/*.jpg` and `val/CLASS/*.jpg`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from contract.errors import UserError
from datasets.images import Progress, count_repairs, images_below, inspect, is_hidden, map_threaded
from datasets.layouts.folder import require_folder, wrong_layout
from datasets.records import ClassSample, Splits
from datasets.report import Problem, VerifyReport

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

    def samples(self) -> list[ClassSample]:
        """Return the images with the index of their class, class by class.

        Raises:
            UserError: The folder has no class folders, or a class folder has no image.
        """
        found: list[ClassSample] = []
        for label, name in enumerate(self.classes()):
            images = list(images_below(self.folder / name))
            if not images:
                raise UserError(
                    f"{self.folder / name} has no image; every class folder of {self.folder} needs an image"
                )
            found += [ClassSample(image, label) for image in images]
        return found

    def images(self) -> list[Path]:
        """Return the images, class by class."""
        return [image for folder in _folders(self.folder) for image in images_below(folder)]

    def names(self) -> list[str]:
        """Return the names of the images without folder and suffix."""
        return [image.stem for image in self.images()]


def find(root: Path) -> bool:
    """Return whether a folder looks like this layout."""
    return all((root / split).is_dir() and _folders(root / split) for split in SPLITS)


def splits(root: Path) -> Splits[Folder]:
    """Return the images to train on and to test on.

    Raises:
        UserError: The folder is not in this layout. The message says what was found and what was expected.
    """
    _require_layout(root)
    return Splits((Folder(root / "train"),), Folder(root / "val"))


def classes(root: Path) -> tuple[str, ...]:
    """Return the class folders of train, sorted by name.

    Raises:
        UserError: The folder is not in this layout.
    """
    return splits(root).train[0].classes()


def data_paths(root: Path) -> list[Path]:
    """Return the folders that make up the dataset, without reading a file."""
    _require_layout(root)
    return [root / split for split in SPLITS]


def check(root: Path, decode: bool = True, progress: Progress | None = None) -> VerifyReport:
    """Check every class folder and image; see `datasets.verify`."""
    found = splits(root)
    names = found.train[0].classes()
    problems = _differing_classes(root, names)
    images: list[Path] = []
    counts = {"images": 0, "objects": 0, "classes": len(names)}
    for split in SPLITS:
        before = len(images)
        for folder in _folders(root / split):
            inside = list(images_below(folder))
            images += inside
            if not inside:
                message = "the class folder has no image; add some or remove the folder"
                problems.append(Problem(folder, message))
        counts[f"{split}_images"] = len(images) - before
    counts["images"] = counts["objects"] = len(images)
    pictures = list(map_threaded(partial(inspect, decode=decode), images, progress))
    problems += [
        Problem(path, picture.fault)
        for path, picture in zip(images, pictures, strict=True)
        if picture.fault
    ]
    counts |= count_repairs(picture.repairs for picture in pictures)
    return VerifyReport("imagefolder", root, counts, tuple(problems))


def _require_layout(root: Path) -> None:
    require_folder("imagefolder", root)
    missing = [split for split in SPLITS if not (root / split).is_dir()]
    if len(missing) == len(SPLITS):
        inner = [path for path in _folders(root) if (path / "train").is_dir()]
        if inner:
            raise wrong_layout(
                "imagefolder", root, "it has no train folder", f"Did you mean {inner[0]}?"
            )
        if any(next(images_below(folder), None) for folder in _folders(root)):
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
    inside = (path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))
    return sorted(inside, key=lambda path: path.name)
