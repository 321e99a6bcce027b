"""The folders of the Pascal VOC layout: the trees of a devkit, and errors for folders without one."""

from __future__ import annotations

import re
from pathlib import Path

from contract.errors import UserError
from datasets.layouts.folder import require_folder, wrong_layout

LISTS = ("train", "val", "trainval", "test")
LIST_FOLDER = "ImageSets/Main"
PARTS = ("Annotations", "JPEGImages", LIST_FOLDER)
_YEAR = re.compile(r"VOC\d{4}")


def holds_tree(root: Path) -> bool:
    """Return whether a folder is a tree or contains the tree of a year."""
    return _is_tree(root) or any(_is_tree(tree) for tree in _years(root))


def trees(root: Path) -> list[Path]:
    """Return the folders of the years, or `root` itself if it is a single tree.

    Raises:
        UserError: The folder is not in this layout. The message names the folder that was probably meant.
    """
    require_folder("voc", root)
    years = _years(root)
    if not years and not _is_tree(root):
        raise _not_a_devkit(root)
    if not years and _YEAR.fullmatch(root.resolve().name):
        raise wrong_layout(
            "voc",
            root,
            "it is one year of the devkit, not the devkit",
            f"Name the folder above it: {root.resolve().parent}.",
        )
    found = years or [root]
    if is_undivided(root):
        return found
    for tree in found:
        if _missing(tree):
            raise wrong_layout("voc", root, f"{tree} has no {' and no '.join(_missing(tree))}")
        if not list_files(tree):
            raise wrong_layout(
                "voc",
                root,
                f"{tree / LIST_FOLDER} has none of {', '.join(LISTS)} as .txt",
                "List there the images of each split, one name without suffix a line.",
            )
    return found


def list_files(tree: Path) -> dict[str, Path]:
    """Return the lists of a tree by name."""
    paths = {name: tree / LIST_FOLDER / f"{name}.txt" for name in LISTS}
    return {name: path for name, path in paths.items() if path.is_file()}


def _years(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and _YEAR.fullmatch(path.name))


def _not_a_devkit(root: Path) -> UserError:
    """Build the error for a folder without a tree; it names a tree below or above."""
    inner = [path for path in sorted(root.iterdir()) if path.is_dir() and holds_tree(path)]
    if inner:
        return wrong_layout("voc", root, "it has no VOC2007 folder", f"Did you mean {inner[0]}?")
    above = root.resolve().parent
    if _is_tree(above):
        meant = above.parent if _YEAR.fullmatch(above.name) else above
        return wrong_layout("voc", root, "it is a part of a tree", f"Did you mean {meant}?")
    present = [name for name in PARTS if (root / name).is_dir()]
    lacking = ", ".join(_missing(root)) if present else "VOC2007 and VOC2012"
    return wrong_layout("voc", root, f"it has no {lacking}")


def _missing(tree: Path) -> list[str]:
    return [name for name in PARTS if not (tree / name).is_dir()]


def _is_tree(folder: Path) -> bool:
    """Return whether images and annotations exist; lists are optional in a user's own tree."""
    return not set(_missing(folder)) - {LIST_FOLDER}


def is_undivided(root: Path) -> bool:
    """Return whether a folder is a user's own tree without lists. The devkit has lists for every year."""
    return _is_tree(root) and not (root / "ImageSets").exists()
