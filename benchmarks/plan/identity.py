"""The identity of a run: a hash of everything that decides its numbers.

A finished run counts only if its identity equals the planned one. The hashed components are stored beside the result,
so a difference can be explained.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.plan.closure import (
    assignments_without,
    import_closure,
    literal,
    own_files,
    source_digest,
)
from benchmarks.suite.select import CHECKPOINT_HOOK, WITHOUT_EFFECT, is_without_effect
from contract.errors import UserError
from contract.tasks import TASKS

# The version of the package determines their networks.
FOREIGN_LIBRARIES = ("timm", "torchvision")
# It contains names, schemas and messages but computes no numbers: a new task or label retrains nothing.
NAMES_ONLY = ("contract",)

_SENTENCES = {
    "budget": "the budget differs",
    "dtype": "the number format differs",
    "device": "the device differs",
    "deterministic": "the option --deterministic differs",
    "seed": "the seed differs",
    "backbone": "the backbone differs",
    "dataset": "the dataset differs",
    "checkpoint": "the checkpoint that it starts from differs",
    "teacher": "the teacher differs",
    "tricks": "the tricks or their order differ",
    "device_batch_size": "the images of a forward pass differ",
    "overrides": "the --set overrides differ",
}
_SHOWN = ("seed", "budget", "dtype", "device", "backbone")
_MOST_FILES = 5


def identity_of(components: Mapping[str, Any]) -> str:
    """Return the hash, in hex, of a run's components."""
    canonical = json.dumps(components, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def trick_file(task: str, trick: str, root: Path) -> Path:
    """Return the file of a trick; if there is none, its path in the first folder.

    Args:
        task: The task.
        trick: The trick's name.
        root: The repository.
    """
    files = [root / folder / f"{trick}.py" for folder in TASKS[task].tricks]
    found = [file for file in files if file.is_file()]
    if not files:
        raise UserError(f"task {task!r} has no tricks, so there is no trick {trick!r}")
    return (found or files)[0]


def recipe_components(
    task: str, recipe: str | None, tricks: tuple[str, ...], root: Path
) -> dict[str, str | None]:
    """Return the digests of a recipe, of the tricks that it names, and of further tricks."""
    found: dict[str, str | None] = {}
    folder = TASKS[task].recipes
    if recipe is not None and folder is not None:
        path = root / folder / f"{recipe}.py"
        found |= config_chain(path, root)
        tricks = (*_strings(path, "tricks"), *tricks)
    for trick in tricks:
        found |= config_chain(trick_file(task, trick, root), root)
    return found


@cache
def config_chain(path: Path, root: Path) -> Mapping[str, str | None]:
    """Return the digest of a config and of every local config that it inherits from.

    Args:
        path: The config.
        root: The repository; keys are relative to it.

    Returns:
        Digest by path. A base inside a package (`mmdet::…`) has None, because the package's version is part of the
        identity.

    Raises:
        UserError: A config of the chain does not exist or does not parse.
    """
    found: dict[str, str | None] = {}
    waiting = [path.resolve()]
    while waiting:
        current = waiting.pop()
        name = _relative(current, root)
        if name in found:
            continue
        found[name] = _config_digest(current)
        for base in _strings(current, "_base_"):
            if "::" in base:
                found[base] = None
            else:
                waiting.append((current.parent / base).resolve())
    return found


@cache
def _config_digest(path: Path) -> str:
    text = assignments_without(path, WITHOUT_EFFECT, CHECKPOINT_HOOK)
    return hashlib.sha256(text.encode()).hexdigest()


def _strings(path: Path, name: str) -> tuple[str, ...]:
    """Return the strings that a file assigns to a name; empty if there is no assignment."""
    value = literal(path, name, ())
    return (value,) if isinstance(value, str) else tuple(value)  # type: ignore[arg-type]


@cache
def task_code(task: str, root: Path) -> Mapping[str, str]:
    """Return the digests of the files that a task imports, by path."""
    return module_code(TASKS[task].module, root)


@cache
def module_code(module: str, root: Path) -> Mapping[str, str]:
    """Return the digests of the files of the repository that a module imports, by path."""
    return {
        _relative(path, root): source_digest(path)
        for path in import_closure(module, root, NAMES_ONLY)
    }


def own_code(spec: str) -> dict[str, str]:
    """Return the digest of the user's code behind a spec such as `package.module:Class`; empty for all others."""
    files = list(own_files(spec, FOREIGN_LIBRARIES))
    if not files:
        return {}
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(files[0].parent)}\0{source_digest(path)}\0".encode())
    return {spec.partition(":")[0].partition(".")[0]: digest.hexdigest()}


def overrides(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the overrides that can change a number, as text."""
    return {key: repr(values[key]) for key in sorted(values) if not is_without_effect(key)}


def explain(earlier: Mapping[str, Any], planned: Mapping[str, Any]) -> str:
    """Describe the components in which two runs differ."""
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
            yield from _changed_files("code of " if key == "code" else "", old or {}, new or {})
        elif key == "processes":
            yield f"the number of processes differs ({old or 1} → {new or 1})"
        elif key == "lr_factor":
            yield f"the factor on the learning rate differs ({old or 1:g} → {new or 1:g})"
        elif key in _SHOWN:
            yield f"{_SENTENCES[key]} ({old} → {new})"
        else:
            yield _SENTENCES.get(key, f"{key} differs")


def _changed_files(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    changed = [name for name in sorted({*old, *new}) if old.get(name, "") != new.get(name, "")]
    for name in changed[:_MOST_FILES]:
        yield f"{kind}{name} differs"
    if len(changed) > _MOST_FILES:
        yield f"{kind}{len(changed) - _MOST_FILES} more files differ"


def _changed_packages(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield f"{name} {old.get(name, 'absent')} → {new.get(name, 'absent')}"


def _relative(path: Path, root: Path) -> str:
    for base in (root, root.resolve()):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return path.as_posix()
