"""The identity of a cell: a hash of everything that decides its numbers.

A finished cell is taken over only where its identity equals the planned one. What went into the
hash is stored beside the result, so that a difference can be named.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from contract.errors import UserError
from contract.tasks import TASKS

# Their networks are pinned by the version of the package.
FOREIGN_LIBRARIES = ("timm", "torchvision")
SHARED_CODE = ("contract", "datasets", "backbones", "engine")
STAGE_FOLDERS = {"cls": "cls_train", "probe": "probe", "det": "det", "seg": "seg"}
STAGE_CONFIGS = {
    "cls": Path("cls_train/configs"),
    "probe": Path("probe/configs"),
    "det": Path("det/configs"),
    "seg": Path("seg/configs"),
}
RECIPES = Path("cls_train/configs/recipes")
# Configs are digested by chain instead.
NOT_CODE = ("configs", "miniworld", "prepare")

_SENTENCES = {
    "budget": "the budget differs",
    "precision": "the precision differs",
    "seed": "the seed differs",
    "backbone": "the backbone differs",
    "dataset": "the dataset differs",
    "checkpoint": "the checkpoint that it starts from differs",
    "teacher": "the teacher differs",
    "tricks": "the tricks or their order differ",
    "overrides": "the --set overrides differ",
}


def identity_of(components: Mapping[str, Any]) -> str:
    """Returns the hash, in hex, of a cell's components."""
    canonical = json.dumps(components, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def tricks_folders(stage: str) -> tuple[Path, ...]:
    """Returns where the tricks of a stage lie, relative to the repository; the first folder that has one counts."""
    return tuple(map(Path, TASKS[stage].tricks))


def trick_file(stage: str, name: str, root: Path) -> Path:
    """Returns the file of a trick."""
    folders = [root / folder for folder in tricks_folders(stage)]
    found = (folder / f"{name}.py" for folder in folders)
    return next(
        (path for path in found if path.is_file()),
        root / STAGE_CONFIGS[stage] / "tricks" / f"{name}.py",
    )


def recipe_components(
    stage: str, recipe: str | None, tricks: tuple[str, ...], root: Path
) -> dict[str, str | None]:
    """Returns the digests of a recipe, of the tricks that it names, and of further tricks."""
    digests: dict[str, str | None] = {}
    if recipe is not None:
        path = root / RECIPES / f"{recipe}.py"
        digests |= config_chain(path, root)
        tricks = (*_literal(path, "tricks", ()), *tricks)
    for trick in tricks:
        digests |= config_chain(trick_file(stage, trick, root), root)
    return digests


@cache
def config_chain(path: Path, root: Path) -> Mapping[str, str | None]:
    """Returns the digest of a config and of every local config that it inherits from.

    Args:
        path: The config.
        root: The repository; keys are relative to it.

    Returns:
        Digest by path. A base inside a package (`mmdet::…`) has None, because the package's
        version, which is part of the identity too, decides what it holds.

    Raises:
        UserError: A config of the chain does not exist or does not parse.
    """
    digests: dict[str, str | None] = {}
    waiting = [path.resolve()]
    while waiting:
        current = waiting.pop()
        name = _relative(current, root)
        if name in digests:
            continue
        digests[name] = source_digest(current)
        bases = _literal(current, "_base_", ())
        for base in [bases] if isinstance(bases, str) else bases:
            if "::" in base:
                digests[base] = None
            else:
                waiting.append((current.parent / base).resolve())
    return digests


@cache
def code_digest(folder: Path) -> str:
    """Returns one digest of all Python files below `folder`, but for those of `NOT_CODE`."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder)
        if name.parts[0] not in NOT_CODE:
            digest.update(f"{name.as_posix()}\0{source_digest(path)}\0".encode())
    return digest.hexdigest()


@cache
def source_digest(path: Path) -> str:
    """Returns the digest of what a Python file does: comments, layout and docstrings do not count.

    The tree is turned back into text, because that text, unlike a dump of the tree, is the same
    under all versions of Python that are supported.

    Raises:
        UserError: The file does not exist or does not parse.
    """
    tree = _parse(path)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            body[:] = body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def stage_code(stage: str, root: Path) -> dict[str, str]:
    """Returns the digests of the code that a stage runs, by folder."""
    return {name: code_digest(root / name) for name in (*SHARED_CODE, STAGE_FOLDERS[stage])}


def own_code(spec: str) -> dict[str, str]:
    """Returns the digest of the user's code behind a spec such as `package.module:Class`; empty for all others.

    It covers the whole top-level package, since a class may use any of it.
    """
    path, colon, _ = spec.partition(":")
    top = path.partition(".")[0]
    if not colon or top in FOREIGN_LIBRARIES:
        return {}
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin in (None, "built-in", "frozen"):
        folders = list(found.submodule_search_locations or ()) if found else []
        return {top: code_digest(Path(folders[0]))} if folders else {}
    origin = Path(str(found.origin))
    return {
        top: code_digest(origin.parent) if origin.name == "__init__.py" else source_digest(origin)
    }


def explain(earlier: Mapping[str, Any], planned: Mapping[str, Any]) -> str:
    """Says in words in which components two cells differ."""
    differences = list(_differences(earlier, planned))
    return "; ".join(differences) or "the stored result does not name what made it"


def _differences(earlier: Mapping[str, Any], planned: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*earlier, *planned}):
        old, new = earlier.get(key), planned.get(key)
        if old == new:
            continue
        if key == "packages":
            yield from _changed_packages(old or {}, new or {})
        elif key in ("code", "config", "recipe"):
            kind = "code of " if key == "code" else ""
            for name in sorted({*(old or {}), *(new or {})}):
                if (old or {}).get(name, "") != (new or {}).get(name, ""):
                    yield f"{kind}{name} differs"
        elif key == "lr_factor":
            yield f"the factor on the learning rate differs ({old or 1:g} → {new or 1:g})"
        elif key in ("seed", "budget", "precision", "backbone"):
            yield f"{_SENTENCES[key]} ({old} → {new})"
        else:
            yield _SENTENCES.get(key, f"{key} differs")


def _changed_packages(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield f"{name} {old.get(name, 'absent')} → {new.get(name, 'absent')}"


def _literal(path: Path, name: str, default: Any) -> Any:
    """Returns the value that a file assigns to `name` at its top level, if it is a literal."""
    for statement in _parse(path).body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in statement.targets
        ):
            try:
                return ast.literal_eval(statement.value)
            except ValueError as error:
                raise UserError(
                    f"{path}, line {statement.lineno}: `{name}` must be written out as plain "
                    "strings, so that the files it names can be part of a cell's identity."
                ) from error
    return default


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.") from error
    except (SyntaxError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None)
        place = f", line {line}," if line else ""
        raise UserError(f"{path}{place} is not valid Python: {error}.") from error


def _is_docstring(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _relative(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root.resolve()).as_posix()
    except ValueError:
        return path.as_posix()
