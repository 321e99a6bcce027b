"""COCO's form of a detection set: a JSON file a split. Which files and folders it reads is told in `det/coco.py`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.datasets.decoding import Progress, count_mends, inspect, map_threaded
from benchmarks.datasets.layout import require_folder, wrong_layout
from benchmarks.datasets.report import Problem, Severity, VerifyReport
from benchmarks.datasets.shares import divide
from contract.errors import UserError, unknown

_SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
_FOLDER_FILE = "_annotations.coco.json"
_LISTS = ("images", "annotations", "categories")
_IMAGE_KEYS = ("id", "file_name", "width", "height")


@dataclass(frozen=True)
class _Picture:
    """An image of a JSON file, with its annotations."""

    json_file: Path
    path: Path
    told_size: tuple[float, float]
    annotations: tuple[Mapping[str, Any], ...]


def json_files(root: Path) -> dict[str, Path]:
    """Returns the annotation files by split; `""` for one alone that names no split."""
    found: dict[str, Path] = {}
    for word, split in _SPLITS.items():
        if (path := root / word / _FOLDER_FILE).is_file():
            found[split] = path
    if found:
        return found
    for path in sorted((root / "annotations").glob("*.json")):
        match = re.fullmatch(r"(?:instances_?)?(train|valid|val|test)?\d*", path.stem)
        if match is not None:
            found[_SPLITS.get(match[1] or "", "")] = path
    for name in ("annotations.json", _FOLDER_FILE):
        if not found and (root / name).is_file():
            found[""] = root / name
    return found if set(found) == {""} else {name: path for name, path in found.items() if name}


def _files(root: Path) -> dict[str, Path]:
    """Returns the annotation files of a set that can be trained and tested on.

    Raises:
        UserError: The folder is not in this layout, or has nothing to train on or to test on.
    """
    require_folder("coco", root)
    found = json_files(root)
    if not found:
        raise wrong_layout("coco", root, "it has no annotation file of COCO's form")
    if "" not in found and not ("train" in found and ({"val", "test"} & found.keys())):
        raise wrong_layout("coco", root, f"it has annotations for {', '.join(found)} only")
    return found


def _read(path: Path) -> dict[str, Any]:
    """Returns a file's content.

    Raises:
        UserError: It is not JSON, lacks a list, or has an image without name or size.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no JSON ({error}); get it anew.") from None
    for key in _LISTS:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(f"{path} has no list {key!r}; expected {', '.join(_LISTS)}.")
    for image in content["images"]:
        if lacking := [key for key in _IMAGE_KEYS if key not in image]:
            raise UserError(f"{path}: the image {image} has no {lacking[0]!r}. Mend the file.")
    return content


def _image_folder(root: Path, path: Path, content: Mapping[str, Any]) -> Path:
    words = path.stem.removeprefix("instances").removeprefix("_")
    near = (path.parent, root / words, root / "images" / words, root / "images", root)
    if not content["images"]:
        raise UserError(f"{path} lists no image.")
    name = content["images"][0]["file_name"]
    for folder in near:
        if (folder / name).is_file():
            return folder
    raise UserError(
        f"{path} names the image {name}, which is in none of {', '.join(map(str, near))}. Put the images there."
    )


def class_names(root: Path) -> tuple[str, ...]:
    """Returns the categories of the training file by ascending id, then those that only others have.

    Raises:
        UserError: The folder is not in this layout.
    """
    names: dict[str, None] = {}
    files = _files(root)
    for split in ("train", "val", "test", ""):
        if split in files:
            listed = _read(files[split])["categories"]
            names |= {entry["name"]: None for entry in sorted(listed, key=lambda c: c["id"])}
    return tuple(names)


def _images(root: Path, path: Path) -> list[Path]:
    content = _read(path)
    folder = _image_folder(root, path, content)
    return [folder / image["file_name"] for image in content["images"]]


def splits(root: Path) -> tuple[list[Path], list[Path]]:
    """Returns the images that are trained on and those that are tested on.

    Test is the file `test` where there is one, and train and val are trained on; else it is val, and train alone is
    trained on. One file alone is divided by `shares`.
    """
    files = _files(root)
    if "" in files:
        return divide(_images(root, files[""]))
    test = "test" if "test" in files else "val"
    train = [
        image
        for name in ("train", "val")
        if name in files and name != test
        for image in _images(root, files[name])
    ]
    return train, _images(root, files[test])


def data_paths(root: Path) -> list[Path]:
    """Returns the folders and files that make up the set."""
    files = list(_files(root).values())
    folders = {_image_folder(root, path, _read(path)) for path in files}
    # A folder inside another one would be walked twice.
    outer = sorted(f for f in folders if not any(other in f.parents for other in folders))
    return [*files, *outer]


def check(root: Path, decode: bool = True, progress: Progress | None = None) -> VerifyReport:
    """Checks every image and annotation of all splits; see `verify`."""
    problems: list[Problem] = []
    pictures: list[_Picture] = []
    categories: dict[str, dict[Any, str]] = {}
    for path in _files(root).values():
        content = _read(path)
        categories[str(path)] = {entry["id"]: entry["name"] for entry in content["categories"]}
        pictures += _pictures(root, path, content, problems)
    checked = map_threaded(
        partial(_check_picture, categories=categories, decode=decode), pictures, progress
    )
    mends = []
    for mended, found in checked:
        mends.append(mended)
        problems += found
    counts = {
        "images": len(pictures),
        "objects": sum(len(picture.annotations) for picture in pictures),
        "classes": len(class_names(root)),
        **count_mends(mends),
    }
    return VerifyReport("coco", root, counts, tuple(problems))


def _pictures(
    root: Path, path: Path, content: Mapping[str, Any], problems: list[Problem]
) -> list[_Picture]:
    """Returns a file's images with their annotations; what belongs to none is a problem."""
    folder = _image_folder(root, path, content)
    counted = Counter(image["id"] for image in content["images"])
    problems += [
        Problem(path, f"{times} images have the id {number}; give each its own")
        for number, times in counted.items()
        if times > 1
    ]
    by_image: dict[Any, list[Mapping[str, Any]]] = {number: [] for number in counted}
    for annotation in content["annotations"]:
        if annotation.get("image_id") in by_image:
            by_image[annotation["image_id"]].append(annotation)
            continue
        message = f"annotation {annotation.get('id')} is of an image that the file does not list"
        problems.append(Problem(path, f"{message}; add the image or remove the annotation"))
    return [
        _Picture(
            path,
            folder / image["file_name"],
            (image["width"], image["height"]),
            tuple(by_image[image["id"]]),
        )
        for image in content["images"]
    ]


def _check_picture(
    picture: _Picture, categories: Mapping[str, Mapping[Any, str]], decode: bool
) -> tuple[tuple[str, ...], list[Problem]]:
    """Returns what it takes to load the image, and what is wrong with it and its annotations."""
    problems = []
    seen = inspect(picture.path, decode)
    if seen.fault:
        problems.append(Problem(picture.path, seen.fault))
    elif seen.size != picture.told_size:
        told, found = (
            "×".join(f"{side:g}" for side in size) for size in (picture.told_size, seen.size or ())
        )
        message = (
            f"{picture.json_file.name} says {told} but the image is {found}, so the boxes may belong to another "
            "picture; bring image, boxes and size into line"
        )
        problems.append(Problem(picture.path, message))
    known = categories[str(picture.json_file)]
    for annotation in picture.annotations:
        problems += [
            Problem(picture.json_file, f"annotation {annotation.get('id')}: {message}", severity)
            for message, severity in _annotation_problems(annotation, picture.told_size, known)
        ]
    return seen.mends, problems


def _annotation_problems(
    annotation: Mapping[str, Any], size: tuple[float, float], known: Mapping[Any, str]
) -> Iterator[tuple[str, Severity]]:
    """Yields what is wrong with one annotation: message and severity."""
    if annotation.get("category_id") not in known:
        yield (
            str(unknown("category id", str(annotation.get("category_id")), map(str, known))),
            "error",
        )
    try:
        x, y, width, height = map(float, annotation["bbox"])
    except (KeyError, TypeError, ValueError):
        yield "it has no bbox of four numbers [x, y, width, height]; write one", "error"
        return
    shown = f"the box [{x:g}, {y:g}, {width:g}, {height:g}]"
    inside = min(x + width, size[0]) - max(x, 0), min(y + height, size[1]) - max(y, 0)
    # NaN compares false with everything, so the condition asks for what is right.
    if not (width >= 1 and height >= 1):
        yield f"{shown} has no area; it is dropped", "mended"
    elif inside[0] < 1 or inside[1] < 1:
        yield f"{shown} lies outside the {size[0]:g}×{size[1]:g} image; it is dropped", "mended"
    elif x < -1 or y < -1 or x + width > size[0] or y + height > size[1]:
        yield f"{shown} reaches beyond the {size[0]:g}×{size[1]:g} image; it is clipped", "mended"
