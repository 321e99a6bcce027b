"""The target path of each archive member, for each dataset."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from contract.errors import UserError
from datasets.prepare import cifar10, imagenet
from datasets.prepare.extract import Advance, Staging, Unpack, read_files

Archives = Mapping[str, Path]


class Step(Protocol):
    """One step of filling a dataset's folder."""

    @property
    def title(self) -> str:
        """The title of the progress bar."""
        ...

    def measure(self) -> int:
        """Return the bytes on disk that the step needs."""
        ...

    def write(self, staging: Staging, advance: Advance) -> None:
        """Write missing files; call `advance` with bytes on disk."""
        ...


def steps(name: str, archives: Archives) -> list[Step]:
    """Return the steps that turn archives into a dataset.

    Args:
        name: A key of the catalogue.
        archives: The verified archives by their role in the catalogue.

    Raises:
        UserError: An archive cannot be read, or a list is missing from it.
    """
    return _ARRANGEMENTS[name](archives)


def _as_it_is(folder: str) -> Callable[[Archives], list[Step]]:
    """Return a function for archives that contain the final folder; other members are skipped."""

    def place(name: str) -> str | None:
        inside = name.removeprefix(f"{folder}/")
        return inside if inside != name else None

    return lambda archives: [Unpack(path, place) for path in archives.values()]


def _places365(archives: Archives) -> list[Step]:
    """Flatten the categories' folders, and sort the validation images by their list.

    `/a/apartment_building/outdoor` becomes `apartment_building-outdoor`, because an ImageFolder has one folder per
    class. The class index follows the sorted folders; for such names it may differ from the number in
    `categories_places365.txt`.
    """
    names = ("categories_places365.txt", "places365_val.txt")
    lists = read_files(archives["lists"], names)
    for name in names:
        if name not in lists:
            raise UserError(
                f"{archives['lists']} does not contain {name}; download the archive again."
            )
    categories = dict(line.split() for line in lists[names[0]].decode().splitlines() if line)
    for category in categories:
        if not re.fullmatch(r"/[a-z]/[\w/-]+", category):
            raise UserError(f"{archives['lists']} has the category {category!r}; expected /a/name.")
    folders = {category: category[3:].replace("/", "-") for category in categories}
    by_number = {number: folders[category] for category, number in categories.items()}
    val = dict(line.split() for line in lists[names[1]].decode().splitlines() if line)

    def place_train(name: str) -> str:
        category, _, file_name = name.removeprefix("data_256").rpartition("/")
        if category not in folders:
            raise UserError(
                f"{archives['train']} holds {name}, which is in none of the categories."
            )
        return f"train/{folders[category]}/{file_name}"

    def place_val(name: str) -> str:
        file_name = name.rpartition("/")[2]
        if val.get(file_name) not in by_number:
            raise UserError(f"{archives['val']} holds {name}, which {names[1]} gives no category.")
        return f"val/{by_number[val[file_name]]}/{file_name}"

    return [Unpack(archives["val"], place_val), Unpack(archives["train"], place_train)]


_ARRANGEMENTS: dict[str, Callable[[Archives], list[Step]]] = {
    "voc": _as_it_is("VOCdevkit"),
    "ade20k": _as_it_is("ADEChallengeData2016"),
    "imagenette": _as_it_is("imagenette2-320"),
    "cifar10": lambda archives: [cifar10.Pictures(archives["all"])],
    "places365": _places365,
    "imagenet": lambda archives: [*imagenet.steps(archives)],
}
