"""Short names of settings deep in a Runner config, such as `lr` for `optim_wrapper.optimizer.lr`.

Both names mean the same setting. The last layer that sets it under either name wins: the file's bases, the file, the
tricks in order, then `--set`. A layer that sets the two names to different values is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.config.config import DELETE_KEY

from contract.errors import UserError

# Short keys of every task; a classifier's recipe uses only the short names.
OPTIMISER_KEYS = {
    "lr": "optim_wrapper.optimizer.lr",
    "weight_decay": "optim_wrapper.optimizer.weight_decay",
    "clip_grad": "optim_wrapper.clip_grad",
}
_ABSENT = object()
_NUMBERS = {"lr", "weight_decay"}


def settle_file(config: Config, file: Path, short_keys: Mapping[str, str]) -> list[str]:
    """Move the values that a config file sets under short names to the full names, in place.

    Args:
        config: The file, loaded with its bases.
        file: The file.
        short_keys: Full names, dotted, by short ones.

    Returns:
        The full names that the config did not have; they are None now unless a short name set them.

    Raises:
        UserError: One file sets both names to different values.
    """
    added = []
    for short, full in short_keys.items():
        value = config.pop(short, None)
        *path, last = full.split(".")
        node: Any = config
        for part in path:
            node = node.setdefault(part, ConfigDict())
        if last not in node:
            added.append(full)
            node[last] = value if _decides(file, short, full) != "full" else None
        elif value is not None and value != node[last]:
            decides = "short" if node[last] is None else _decides(file, short, full)
            if decides == "both":
                raise UserError(
                    f"{file} sets both {short}={value!r} and {full}={node[last]!r}, which are one setting; set one"
                )
            if decides == "short":
                node[last] = value
    return added


def drop_unset(config: Config, added: list[str], short_keys: Mapping[str, str]) -> None:
    """Remove full names that `settle_file` added and nothing set.

    Args:
        config: The config, changed in place.
        added: What `settle_file` returned.
        short_keys: Full names by short ones.

    Raises:
        UserError: The learning rate or the weight decay is None.
    """
    for full in added:
        *path, last = full.split(".")
        node: Any = config
        for part in path:
            node = node.get(part, {})
        if node.get(last, _ABSENT) is None:
            del node[last]
    optimiser = config.get("optim_wrapper", {}).get("optimizer", {})
    for key in _NUMBERS & short_keys.keys():
        if optimiser.get(key, _ABSENT) is None:
            raise UserError(f"{key} is None; expected a number, such as --set {key}=0.01")


def full_overrides(
    overrides: Mapping[str, Any], short_keys: Mapping[str, str]
) -> dict[str, tuple[str, Any]]:
    """Return overrides by full name, each with the name that the user typed and the value.

    Args:
        overrides: Values by dotted names, short or full.
        short_keys: Full names by short ones.

    Raises:
        UserError: Two overrides give one setting different values.
    """
    found: dict[str, tuple[str, Any]] = {}
    for key, value in overrides.items():
        first, dot, rest = key.partition(".")
        full = short_keys.get(first, first) + dot + rest
        if full in found and found[full][1] != value:
            other, earlier = found[full]
            raise UserError(
                f"--set {other}={earlier} and --set {key}={value} are one setting; give it once"
            )
        found[full] = key, value
    return found


def full_fragment(
    fragment: Mapping[str, Any], short_keys: Mapping[str, str], owner: str
) -> dict[str, Any]:
    """Return a trick's values with full names in place of short ones.

    Raises:
        UserError: The trick sets both names to different values.
    """
    full = {key: value for key, value in fragment.items() if key not in short_keys}
    for short in fragment.keys() & short_keys.keys():
        *path, last = short_keys[short].split(".")
        node = full
        for part in path:
            node[part] = dict(node.get(part, {}))
            node = node[part]
        if node.get(last, fragment[short]) != fragment[short]:
            raise UserError(
                f"{owner} sets both {short}={fragment[short]!r} and {short_keys[short]}={node[last]!r}, which are one "
                "setting; set one"
            )
        node[last] = fragment[short]
    return full


def _decides(file: Path, short: str, full: str) -> str:
    """Return which name the nearest file of the inheritance chain sets: `'short'`, `'full'` or `'both'`."""
    body = ast.parse(file.read_text(encoding="utf-8"), str(file)).body
    assigned = {
        target.id: statement.value
        for statement in body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    first, *path = full.split(".")
    sets_full = first in assigned and _sets(assigned[first], path)
    if short in assigned:
        return "both" if sets_full else "short"
    if sets_full:
        return "full"
    for base in _bases(assigned.get("_base_"), file):
        return _decides(base, short, full)
    return "short"


def _sets(node: ast.AST, path: list[str]) -> bool:
    """Return whether nested `dict(…)` or `{…}` set the value at a path, or replace a dict around it."""
    for part in path:
        entries = _entries(node)
        if DELETE_KEY in entries:
            return True
        if part not in entries:
            return False
        node = entries[part]
    return not (isinstance(node, ast.Constant) and node.value is None)


def _entries(node: ast.AST) -> dict[Any, ast.AST]:
    if isinstance(node, ast.Call):
        return {keyword.arg: keyword.value for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {getattr(key, "value", None): value for key, value in pairs}
    return {}


def _bases(node: ast.AST | None, file: Path) -> Iterator[Path]:
    """Yield the base files of a config in this repository; those of mmdet and mmseg have no short names."""
    for child in ast.walk(node) if node is not None else ():
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            path = file.parent / child.value
            if path.is_file():
                yield path
