"""JSON files in COCO's detection format, with lists of images, annotations and categories."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from contract.errors import UserError, unknown
from datasets.records import Box, Size

_LISTS = ("images", "annotations", "categories")
_IMAGE_KEYS = ("id", "file_name", "width", "height")


@dataclass(frozen=True, slots=True)
class CocoObject:
    """An annotation as written in the file.

    Attributes:
        annotation_id: Its `id`.
        category_id: Its `category_id`.
        corner: Left and top in pixels counted from 0; None if there is no bbox of four numbers.
        size: Width and height in pixels; None if there is no bbox of four numbers.
        crowd: Whether it marks a crowd.
    """

    annotation_id: Any
    category_id: Any
    corner: tuple[float, float] | None
    size: Size | None
    crowd: bool

    @property
    def box(self) -> Box | None:
        """The box by its corners, or None."""
        if self.corner is None or self.size is None:
            return None
        left, top = self.corner
        return (left, top, left + self.size[0], top + self.size[1])


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image of the file with its annotations."""

    image_id: Any
    file_name: str
    size: tuple[int, int]
    objects: tuple[CocoObject, ...]

    @property
    def name(self) -> str:
        """The name without folder and suffix, which decides the image's split."""
        return Path(self.file_name).stem


@dataclass(frozen=True)
class CocoFile:
    """The content of a file.

    Attributes:
        path: The file.
        images: In the order of the file.
        categories: Name by id, in ascending order of the ids.
        misfits: Sentences about inconsistent ids; a file with any of them cannot be trained on.
    """

    path: Path
    images: tuple[CocoImage, ...]
    categories: Mapping[Any, str]
    misfits: tuple[str, ...]

    def faults(self, found: CocoObject) -> Iterator[str]:
        """Yield the reasons why an annotation cannot be used."""
        if found.category_id not in self.categories:
            error = unknown("category id", str(found.category_id), map(str, self.categories))
            yield f"{error}{_other_type(found.category_id, set(map(str, self.categories)))}"
        if found.box is None:
            yield "it has no bbox of four numbers [x, y, width, height]; write one"


def read(path: Path) -> CocoFile:
    """Read a file; each version of it is read once per process.

    COCO's largest file has 450 MB. Polygons are not kept, because no task needs them.

    Raises:
        UserError: The file is not JSON, a list is missing, or an image has no name or size.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror or error}.") from None
    return _read(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _read(path: Path, size: int, modified_ns: int) -> CocoFile:
    del size, modified_ns  # They only distinguish versions of the file.
    content = _content(path)
    images, categories = content["images"], content["categories"]
    counted = Counter(_key(image["id"], path) for image in images)
    misfits = [
        f"{times} images have the id {number}; give each its own"
        for number, times in counted.items()
        if times > 1
    ]
    objects: dict[Any, list[CocoObject]] = {number: [] for number in counted}
    written = set(map(str, counted))
    for annotation in content["annotations"]:
        image_id = _key(annotation.get("image_id"), path)
        if image_id in objects:
            objects[image_id].append(_object(annotation, path))
        else:
            misfits.append(
                f"annotation {annotation.get('id')} is of an image that the file does not list"
                + _other_type(image_id, written)
                + "; add the image or remove the annotation"
            )
    return CocoFile(
        path,
        tuple(
            CocoImage(
                image["id"],
                str(image["file_name"]),
                (image["width"], image["height"]),
                tuple(objects[image["id"]]),
            )
            for image in images
        ),
        _categories(categories, path),
        tuple(misfits),
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({error}); replace it.") from None
    for key in _LISTS:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(
                f"{path} has no list {key!r}; expected COCO's form for detection: "
                '{"images": […], "annotations": […], "categories": […]}.'
            )
        for entry in content[key]:
            if not isinstance(entry, dict):
                raise UserError(f"{path}: {key} has the entry {entry!r:.80}; expected {{…}}.")
    for key, keys in (("images", _IMAGE_KEYS), ("categories", ("id", "name"))):
        for entry in content[key]:
            if lacking := [name for name in keys if name not in entry]:
                kind = {"images": "image", "categories": "category"}[key]
                raise UserError(f"{path}: the {kind} {entry} has no {lacking[0]!r}; fix the file.")
    for image in content["images"]:
        if not all(isinstance(image[side], (int, float)) for side in ("width", "height")):
            raise UserError(f"{path}: width and height of the image {image} must be numbers.")
    return content


def _categories(listed: list[dict[str, Any]], path: Path) -> dict[Any, str]:
    types = sorted({type(entry["id"]).__name__ for entry in listed})
    try:
        ordered = sorted(listed, key=lambda entry: entry["id"])
        return {entry["id"]: entry["name"] for entry in ordered}
    except TypeError:
        raise UserError(
            f"{path}: some category ids are text and others are numbers ({', '.join(types)}); write all of them alike."
        ) from None


def _object(annotation: Mapping[str, Any], path: Path) -> CocoObject:
    try:
        x, y, width, height = map(float, annotation["bbox"])
        place = ((x, y), (width, height))
    except (KeyError, TypeError, ValueError, OverflowError):
        place = (None, None)
    category = _key(annotation.get("category_id"), path)
    return CocoObject(annotation.get("id"), category, *place, bool(annotation.get("iscrowd")))


def _key(value: Any, path: Path) -> Any:
    """Return an id that can be looked up.

    Raises:
        UserError: The id is a list or an object.
    """
    if isinstance(value, (list, dict)):
        raise UserError(f"{path} has the id {value!r:.80}; expected a number or text.")
    return value


def _other_type(wanted: Any, written: Set[str]) -> str:
    """Return a hint if an id is listed as text but used as a number, or vice versa.

    Args:
        wanted: The id that is not listed.
        written: The listed ids, as text.
    """
    if str(wanted) not in written:
        return ""
    return f" (it lists {wanted} as {'a number' if isinstance(wanted, str) else 'text'}; write both alike)"
