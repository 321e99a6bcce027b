"""COCO's form of a detection set: one JSON file a split, with images, boxes and categories.

Two ways to lay it out are read: COCO's own, `annotations/instances_train2017.json` beside the image folder
`train2017/` (or `images/train2017/`, or `images/`), and a folder a split, `train/_annotations.coco.json` beside the
images. One JSON file alone is divided by `det.shares`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.errors import UserError
from det.shares import Share, of_share

_SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
_FOLDER_FILE = "_annotations.coco.json"


@dataclass(frozen=True)
class Split:
    """One JSON file, or a share of it, and the folder of its images.

    Attributes:
        folder: What `file_name` in the JSON is relative to.
        json_file: The annotations.
        share: See `det.shares`.
    """

    folder: Path
    json_file: Path
    share: Share | None = None

    def names(self) -> list[str]:
        """The images' names without folder and suffix, in the file's order."""
        return of_share(map(name_of, read_json(self.json_file)["images"]), self.share)

    def dataset(self) -> dict[str, Any]:
        """What a config says of the split."""
        return dict(
            type="CocoDetectionDataset",
            ann_file=str(self.json_file),
            data_prefix=dict(img=str(self.folder)),
            **({} if self.share is None else {"share": self.share}),
        )


def find_splits(root: Path) -> tuple[tuple[Split, ...], Split] | None:
    """The splits that are trained on and the one that is tested on; None where no JSON file of this form is.

    Raises:
        UserError: There are some, but none to train on or none to test on, or an image folder is missing.
    """
    found = {name: _with_images(root, path) for name, path in _json_files(root).items()}
    if not found:
        return None
    if set(found) == {""}:
        folder, path = found[""].folder, found[""].json_file
        return (Split(folder, path, "train"),), Split(folder, path, "test")
    if "test" in found:
        train = [found[name] for name in ("train", "val") if name in found]
    else:
        train = [found[name] for name in ("train",) if name in found]
    test = found.get("test") or found.get("val")
    if not train or test is None:
        raise UserError(
            f"{root} has COCO annotations for {', '.join(sorted(found))} only; expected one to train on (train) and "
            "one to test on (val or test), such as annotations/instances_train.json and instances_val.json"
        )
    return tuple(train), test


def _json_files(root: Path) -> dict[str, Path]:
    """By split, `""` for a file that names none."""
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
    return found if set(found) == {""} else {k: v for k, v in found.items() if k}


def _with_images(root: Path, json_file: Path) -> Split:
    images = read_json(json_file)["images"]
    if not images:
        raise UserError(f"{json_file} lists no image")
    name = images[0]["file_name"]
    words = json_file.stem.removeprefix("instances").removeprefix("_")
    near = (json_file.parent, root / words, root / "images" / words, root / "images", root)
    for folder in near:
        if (folder / name).is_file():
            return Split(folder, json_file)
    raise UserError(
        f"{json_file} names the image {name}, which is in none of {', '.join(map(str, near))}; put the images there"
    )


def read_json(path: Path) -> dict[str, Any]:
    """A file of this form.

    Raises:
        UserError: It is not JSON, lacks one of its three lists, or has an image without name or size.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no JSON ({error}); get it anew") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(
                f"{path} has no list {key!r}; expected COCO's form for detection: "
                '{"images": […], "annotations": […], "categories": […]}'
            )
    for image in content["images"]:
        if lacking := sorted({"id", "file_name", "width", "height"} - image.keys()):
            raise UserError(f"{path}: the image {image} has no {lacking[0]!r}; mend the file")
    return content


def name_of(image: dict[str, Any]) -> str:
    """The name by which an image of such a file is divided and held out: without folder and suffix."""
    return Path(image["file_name"]).stem


def read_classes(splits: Iterable[Split]) -> tuple[str, ...]:
    """Category names by ascending id; a name that only a later file has comes after those of the first.

    Labels go by name, so that files may number their categories differently.
    """
    names: dict[str, None] = {}
    for path in dict.fromkeys(split.json_file for split in splits):
        for category in sorted(read_json(path)["categories"], key=lambda entry: entry["id"]):
            names[category["name"]] = None
    return tuple(names)
