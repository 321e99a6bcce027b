"""The COCO layout of a detection dataset: one JSON file per split, with images, boxes and categories.

Two folder layouts are read: COCO's own, `annotations/instances_train2017.json` beside the image folder `train2017/`
(or `images/train2017/`, or `images/`), and one folder for each split, `train/_annotations.coco.json` beside the
images. A single JSON file is divided by `datasets.split`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from contract.errors import UserError
from datasets.images import Progress, count_repairs, images_below, inspect, map_threaded
from datasets.layouts.coco_json import CocoFile, CocoImage, CocoObject, read
from datasets.layouts.folder import entries, require_folder, wrong_layout
from datasets.records import (
    DetectionSample,
    Object,
    Splits,
    clip,
    dropped_because,
    reaches_out,
)
from datasets.report import Problem, Severity, VerifyReport
from datasets.split import Split, keeps

# A labelling server writes `instances_default.json` if there are no splits.
_SPLITS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "default": "",
}
_NAME = re.compile(rf"(?:instances_?)?({'|'.join(_SPLITS)})?\d*", re.IGNORECASE)
_FOLDER_FILE = "_annotations.coco.json"


@dataclass(frozen=True)
class JsonSplit:
    """The images of one JSON file, or of one split of it.

    Attributes:
        folder: The folder to which `file_name` in the JSON is relative.
        json_file: The annotations.
        split: The split to take from a file without splits; see `datasets.split`.
    """

    folder: Path
    json_file: Path
    split: Split | None = None

    def _images(self) -> list[CocoImage]:
        return [image for image in read(self.json_file).images if keeps(image.name, self.split)]

    def names(self) -> list[str]:
        """Return the names of the images without folder and suffix, in the order of the file."""
        return [image.name for image in self._images()]

    def images(self) -> list[Path]:
        """Return the image files in the same order."""
        return [self.folder / image.file_name for image in self._images()]

    def samples(self, held_out: bool | None = None) -> list[DetectionSample]:
        """Return the images with their boxes.

        Args:
            held_out: Keep one side of the images; see `datasets.split.keeps`.

        Raises:
            UserError: An annotation has no box of four numbers, or refers to a missing image or category.
        """
        file = read(self.json_file)
        if file.misfits:
            raise UserError(f"{file.path}: {file.misfits[0]}")
        return [
            DetectionSample(
                self.folder / image.file_name,
                image.image_id,
                image.size,
                tuple(_trained_object(file, found) for found in image.objects),
                image.file_name,
            )
            for image in self._images()
            if keeps(image.name, None, held_out)
        ]


def find(root: Path) -> bool:
    """Return whether a folder has annotation files in this format."""
    return bool(json_files(root))


def json_files(root: Path) -> dict[str, Path]:
    """Return the annotation files by split; the key of a single file without splits is `""`."""
    found: dict[str, Path] = {}
    for word, split in _SPLITS.items():
        if split and (path := root / word / _FOLDER_FILE).is_file():
            found[split] = path
    if found:
        return found
    for path in sorted((root / "annotations").glob("*.json")):
        match = _NAME.fullmatch(path.stem)
        if match is not None:
            found[_SPLITS.get((match[1] or "").lower(), "")] = path
    for name in ("annotations.json", _FOLDER_FILE):
        if not found and (root / name).is_file():
            found[""] = root / name
    return found if set(found) == {""} else {name: path for name, path in found.items() if name}


def splits(root: Path) -> Splits[JsonSplit]:
    """Return the images to train on and to test on.

    If there is a file `test`, train and val are trained on. Otherwise val is tested on and only train is trained on.

    Raises:
        UserError: The folder is not in this layout, has nothing to train on or to test on, or images are missing.
    """
    files = _files(root)
    found = {name: JsonSplit(_image_folder(root, path), path) for name, path in files.items()}
    if "" in found:
        folder, path = found[""].folder, found[""].json_file
        return Splits((JsonSplit(folder, path, "train"),), JsonSplit(folder, path, "test"))
    test = "test" if "test" in found else "val"
    train = [found[name] for name in ("train", "val") if name in found and name != test]
    return Splits(tuple(train), found[test])


def classes(root: Path) -> tuple[str, ...]:
    """Return the categories of the training file by ascending id, then those that only other files have.

    Categories are matched by name, so files may number them differently.

    Raises:
        UserError: The folder is not in this layout.
    """
    found = splits(root)
    names: dict[str, None] = {}
    for part in (*found.train, found.test):
        names |= dict.fromkeys(read(part.json_file).categories.values())
    return tuple(names)


def data_paths(root: Path) -> list[Path]:
    """Return the folders and files that make up the dataset, without reading one.

    The JSON determines the image folder, so all candidate folders with images are returned.
    """
    files = list(_files(root).values())
    folders = {
        folder
        for path in files
        for folder in _candidates(root, path)
        if folder != root and next(images_below(folder), None) is not None
    }
    # A folder inside another one would be listed twice.
    outer = sorted(f for f in folders if not any(other in f.parents for other in folders))
    return [*files, *(outer or [root])]


def check(root: Path, decode: bool = True, progress: Progress | None = None) -> VerifyReport:
    """Check every image and annotation of all splits; see `datasets.verify`."""
    problems: list[Problem] = []
    pictures: list[tuple[CocoFile, Path, CocoImage]] = []
    for path in _files(root).values():
        file, folder = read(path), _image_folder(root, path)
        problems += [Problem(path, misfit) for misfit in file.misfits]
        pictures += [(file, folder / image.file_name, image) for image in file.images]
    checked = list(map_threaded(partial(_check_image, decode=decode), pictures, progress))
    for _, found in checked:
        problems += found
    counts = {
        "images": len(pictures),
        "objects": sum(len(image.objects) for _, _, image in pictures),
        "classes": len(classes(root)),
        **count_repairs(repairs for repairs, _ in checked),
    }
    return VerifyReport("coco", root, counts, tuple(problems))


def _files(root: Path) -> dict[str, Path]:
    """Return the annotation files of a dataset that has a training and a test split.

    Raises:
        UserError: The folder is not in this layout, or has nothing to train on or to test on.
    """
    require_folder("coco", root)
    found = json_files(root)
    if not found:
        folder = root / "annotations"
        has_others = next(folder.glob("*.json"), None) is not None
        inside = f" ({folder} holds: {entries(folder)})" if has_others else ""
        raise wrong_layout("coco", root, f"it has no annotation file of COCO's form{inside}")
    if "" not in found and not ("train" in found and ({"val", "test"} & found.keys())):
        listed = ", ".join(f"{split} ({path.name})" for split, path in sorted(found.items()))
        raise wrong_layout(
            "coco",
            root,
            f"it has annotations for {listed} only; expected one file to train on (train) and one to test on "
            "(val or test), such as annotations/instances_train.json and instances_val.json",
        )
    return found


def _candidates(root: Path, path: Path) -> tuple[Path, ...]:
    words = path.stem.removeprefix("instances").removeprefix("_")
    return (path.parent, root / words, root / "images" / words, root / "images", root)


def _image_folder(root: Path, path: Path) -> Path:
    images = read(path).images
    if not images:
        raise UserError(f"{path} lists no image.")
    name, near = images[0].file_name, _candidates(root, path)
    for folder in near:
        if (folder / name).is_file():
            return folder
    raise UserError(
        f"{path} names the image {name}, which is in none of {', '.join(map(str, near))}; put the images there."
    )


def _trained_object(file: CocoFile, found: CocoObject) -> Object:
    fault = next(file.faults(found), None)
    if fault is not None or found.box is None or found.size is None:
        raise UserError(f"{file.path}: annotation {found.annotation_id}: {fault}")
    return Object(file.categories[found.category_id], found.box, found.size, found.crowd)


def _check_image(
    item: tuple[CocoFile, Path, CocoImage], decode: bool
) -> tuple[tuple[str, ...], list[Problem]]:
    """Return the repairs that decoding an image needs, and the problems of the image and its annotations."""
    file, path, image = item
    problems = []
    seen = inspect(path, decode)
    if seen.fault:
        problems.append(Problem(path, seen.fault))
    elif seen.size != image.size:
        stated, found = ("×".join(f"{side:g}" for side in s) for s in (image.size, seen.size or ()))
        message = (
            f"{file.path.name} says {stated} but the image is {found}, so the boxes may belong to another "
            "picture; make image, boxes and size agree"
        )
        problems.append(Problem(path, message))
    for found in image.objects:
        problems += [
            Problem(file.path, f"annotation {found.annotation_id}: {message}", severity)
            for message, severity in _object_problems(file, found, image)
        ]
    return seen.repairs, problems


def _object_problems(
    file: CocoFile, found: CocoObject, image: CocoImage
) -> Iterator[tuple[str, Severity]]:
    """Yield message and severity of each problem of an annotation."""
    for fault in file.faults(found):
        yield fault, "error"
    if found.box is None or found.corner is None or found.size is None:
        return
    shown = f"the box [{', '.join(f'{value:g}' for value in (*found.corner, *found.size))}]"
    if clip(found.box, image.size) is None:
        yield f"{shown} {dropped_because(found.box, image.size)}", "repaired"
    elif reaches_out(found.box, image.size):
        width, height = image.size
        yield f"{shown} reaches beyond the {width:g}×{height:g} image; it is clipped", "repaired"
