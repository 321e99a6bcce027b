"""Configs: a base file, then named tricks in order, then overrides; unknown keys are refused.

mmengine merges any key into a config and reads only those it knows: with a misspelt key, it would silently train the
default. Here a key must already exist in the config that it is merged into.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.config.config import DELETE_KEY
from mmengine.registry import DefaultScope, Registry, root
from mmengine.runner import Runner

from contract.errors import UserError, unknown
from engine.short_keys import drop_unset, full_fragment, full_overrides, settle_file

# mmengine's builders remove these before they call the class.
_CONSUMED_BY_BUILDERS = frozenset(
    {"type", "_scope_", "priority", "convert_to_iter_based", "requires_grad"}
)
# The tasks read these and remove them before mmengine's Runner gets the config.
OWN_KEYS = frozenset({"budgets"})
# Arguments of mmengine's Runner that `engine.wiring` sets from the command line, or removes.
_SET_BY_WIRING = frozenset(
    {
        "self",
        "cfg",
        "data_preprocessor",
        "work_dir",
        "resume",
        "load_from",
        "launcher",
        "env_cfg",
        "randomness",
        "log_processor",
        "test_dataloader",
        "test_evaluator",
        "test_cfg",
    }
)


def load(
    folder: Path,
    name: str,
    tricks: tuple[str, ...],
    overrides: Mapping[str, Any],
    *,
    trick_folders: Sequence[Path] = (),
    short_keys: Mapping[str, str] | None = None,
) -> Config:
    """Return the config of a task with its tricks and overrides merged in.

    Args:
        folder: The task's `configs/`.
        name: A file in it, with or without `.py`, or a path.
        tricks: Names of tricks, applied in order.
        overrides: Dotted keys and values.
        trick_folders: Folders of tricks; the first folder that contains a trick is used. By default
            `folder/tricks/`.
        short_keys: Full dotted names of settings, by the short names that a config may use for them; see
            `engine.short_keys`. The returned config has only the full names.

    Raises:
        UserError: A file, trick or key is unknown, two tricks conflict, or the file is not a config.
    """
    short_keys = short_keys or {}
    file = find(folder, name, "config")
    config = _read(file)
    added = settle_file(config, file, short_keys)
    fragments: dict[str, dict[str, Any]] = {}
    for trick in tricks:
        path = find(trick_folders or (folder / "tricks",), trick, "trick")
        owner = f"the trick {trick!r}"
        fragment = full_fragment(_read(path)._cfg_dict.to_dict(), short_keys, owner)
        _check_keys(fragment, config._cfg_dict, f"trick {trick!r}")
        for other, earlier in fragments.items():
            _refuse_contradiction(other, earlier, trick, fragment)
        fragments[trick] = fragment
        _merge(config, _fitted(fragment, config._cfg_dict), owner)
    for key, (written, value) in full_overrides(overrides, short_keys).items():
        old = _check_path(key, config._cfg_dict)
        if isinstance(value, str) and not (old is None or isinstance(old, str)):
            raise UserError(
                f"--set {written}={value} gives a word where {old!r} stands; give a value of that kind"
            )
        if isinstance(value, Mapping) and old is None:
            value = {**value, DELETE_KEY: True}
        _merge(config, {key: value}, f"--set {written}")
    drop_unset(config, added, short_keys)
    return config


def _fitted(fragment: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a trick that mmengine can merge: dicts replace None, and `_delete_` is kept only if it deletes.

    mmengine merges a dict over None only with `_delete_`, and leaves a `_delete_` that deletes nothing in the config.
    """
    fitted: dict[str, Any] = {}
    for key, value in fragment.items():
        below = base.get(key)
        if not isinstance(value, Mapping):
            fitted[key] = value
        elif key not in base:
            fitted[key] = _plain(value)
        elif below is None or DELETE_KEY in value:
            fitted[key] = {**_plain(value), DELETE_KEY: True}
        elif isinstance(below, Mapping):
            fitted[key] = _fitted(value, below)
        else:
            fitted[key] = value
    return fitted


def _plain(value: Any) -> Any:
    """Return a trick's value without mmengine's merge marks."""
    if not isinstance(value, Mapping):
        return value
    return {key: _plain(inner) for key, inner in value.items() if key != DELETE_KEY}


def _refuse_contradiction(
    first: str, earlier: Mapping[str, Any], second: str, later: Mapping[str, Any]
) -> None:
    """Refuse two tricks that set a key to different values: the later one would silently win."""
    found = _contradiction(earlier, later, "")
    if found is None:
        return
    path, one, other = found
    raise UserError(
        f"the tricks {first!r} and {second!r} both set {path} ({one!r} and {other!r}); choose one"
    )


def _contradiction(
    one: Any, other: Any, path: str, replaces: tuple[bool, bool] = (False, False)
) -> tuple[str, Any, Any] | None:
    """Return the first key that two tricks set to different values, with both values.

    Args:
        one: What the first trick sets at `path`.
        other: What the second sets there.
        path: Dotted key.
        replaces: Whether the dict of the first trick, and that of the second, is under a `_delete_`. Such a dict also
            conflicts with every key that only the other trick sets in it.
    """
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return None if one == other else (path, _plain(one), _plain(other))
    replaces = (replaces[0] or DELETE_KEY in one, replaces[1] or DELETE_KEY in other)
    one, other = ({k: v for k, v in d.items() if k != DELETE_KEY} for d in (one, other))
    for key in one:
        if key in other:
            inner = f"{path}.{key}" if path else key
            found = _contradiction(one[key], other[key], inner, replaces)
            if found is not None:
                return found
    if (replaces[0] and other.keys() - one.keys()) or (replaces[1] and one.keys() - other.keys()):
        return path, _plain(one), _plain(other)
    return None


def _merge(config: Config, values: dict[str, Any], owner: str) -> None:
    try:
        config.merge_from_dict(values, allow_list_keys=owner.startswith("--set"))
    except (TypeError, AttributeError) as error:  # the latter for a number in a list
        raise UserError(f"{owner} does not fit the config: {error}") from error


def find(folders: Path | Sequence[Path], name: str, kind: str) -> Path:
    """Return the file of a config, recipe or trick.

    Args:
        folders: Where to look; the first folder that contains it is used.
        name: With or without `.py`, or a path.
        kind: "config", "recipe" or "trick", for the message.

    Raises:
        UserError: There is no such file; the message lists the candidates.
    """
    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        return path
    folders = [folders] if isinstance(folders, Path) else folders
    for folder in folders:
        inside = folder / f"{path.stem if path.suffix == '.py' else name}.py"
        if inside.is_file():
            return inside
    raise unknown(kind, name, names(*folders))


def names(*folders: Path) -> list[str]:
    """Return the names of the configs, recipes or tricks in folders, each once."""
    found = {path.stem for folder in folders for path in folder.glob("*.py")}
    return sorted(name for name in found if not name.startswith("_"))


def _read(path: Path) -> Config:
    try:
        return Config.fromfile(path)
    except Exception as error:  # the file is user code, which may raise anything
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"the config {path} cannot be read ({type(error).__name__}: {error}); repair it, or take one "
        f"of those in {path.parent} as a pattern"
    )


def _check_keys(fragment: Mapping[str, Any], base: Mapping[str, Any], owner: str) -> None:
    for key in fragment:
        if key not in base and key != DELETE_KEY:
            raise unknown(f"config key in {owner}:", key, base)


def _check_path(dotted: str, base: Mapping[str, Any]) -> Any:
    """Return the value at a dotted key; raise if it does not exist."""
    node: Any = base
    walked = ""
    for part in dotted.split("."):
        if isinstance(node, (list, tuple)) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, Mapping) and part in node:
            node = node[part]
        else:
            candidates = list(node) if isinstance(node, Mapping) else []
            raise unknown("config key", dotted, [walked + str(c) for c in candidates])
        walked += part + "."
    return node


def check_file_keys(file: Path, read: Collection[str]) -> None:
    """Refuse top-level names of a config file that nothing reads.

    Only the file's own names are checked. The configs of mmdet and mmseg define helper variables; setting one of
    those in a file that inherits them would have no effect.

    Args:
        file: The config file.
        read: The keys that have an effect.

    Raises:
        UserError: A name has no effect (the message suggests the nearest key), or the file is not Python.
    """
    try:
        body = ast.parse(file.read_text(encoding="utf-8"), str(file)).body
    except (SyntaxError, ValueError) as error:
        raise _unreadable(file, error) from error
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        for target in targets:
            if isinstance(target, ast.Name) and target.id != "_base_" and target.id not in read:
                raise unknown(f"config key in {file.name}:", target.id, read)


def check_override_keys(overrides: Collection[str], read: Collection[str]) -> None:
    """Refuse overrides of keys that nothing reads, such as the helper variables in the configs of mmdet and mmseg.

    Args:
        overrides: Dotted keys.
        read: The top-level keys that have an effect.

    Raises:
        UserError: A key has no effect; the message suggests the nearest key.
    """
    for key in overrides:
        if key.split(".")[0] not in read:
            raise unknown("config key", key, read)


def runner_keys() -> set[str]:
    """Return the top-level keys that a det or seg config may set."""
    return (set(inspect.signature(Runner.__init__).parameters) - _SET_BY_WIRING) | OWN_KEYS


def check_arguments(config: ConfigDict | Config, scope: str) -> None:
    """Check every `dict(type=…, …)` of a config against the signature of what it builds.

    Raises:
        UserError: A key is not an argument of its type; all such keys are listed.
    """
    problems: list[str] = []
    with DefaultScope.overwrite_default_scope(scope):
        registries = _all_registries(scope)
        for path, node in _typed(config, "", registries):
            accepted = _accepted(_registered(registries, node["type"]))
            if accepted is None:
                continue
            for key in node:
                if key not in accepted and key not in _CONSUMED_BY_BUILDERS:
                    problems.append(str(unknown(f"key in {path or 'config'}:", key, accepted)))
    if problems:
        raise UserError("\n".join(problems))


def _typed(
    node: Any, path: str, registries: list[Any]
) -> Iterator[tuple[str, Mapping[str, Any] | Config]]:
    if isinstance(node, (Mapping, Config)):
        # optim_wrapper mixes its own arguments with those of its constructor.
        typed = isinstance(node.get("type"), str)
        if typed and path != "optim_wrapper":
            yield path, node
        built = _registered(registries, node["type"]) if typed else None
        # For example torchvision's transforms, which are not registered.
        checked = getattr(built, "CHECKED_WHEN_BUILT", ())
        for key, value in node.items():
            if key not in checked:
                yield from _typed(value, f"{path}.{key}" if path else str(key), registries)
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _typed(value, f"{path}[{index}]", registries)


def _all_registries(scope: str) -> list[Any]:
    registries = [r for r in vars(root).values() if isinstance(r, Registry)]
    if scope == "mmdet":
        import mmdet.registry as child
    elif scope == "mmseg":
        import mmseg.registry as child
    else:
        return registries
    return [r for r in vars(child).values() if isinstance(r, Registry)] + registries


def _registered(registries: list[Any], type_name: str) -> Any:
    """Return the class or function registered under a name; None if it is unknown."""
    for registry in registries:
        if type_name in registry.module_dict:
            return registry.module_dict[type_name]
    return None


def _accepted(built: Any) -> set[str] | None:
    """Return the argument names of a class or function, or None if it takes any or is None."""
    if built is None:
        return None
    accepted: set[str] = set()
    for cls in inspect.getmro(built) if inspect.isclass(built) else [built]:
        function = cls.__dict__.get("__init__") if inspect.isclass(cls) else cls
        if function is None:
            continue
        parameters = inspect.signature(function).parameters.values()
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        accepted |= {p.name for p in parameters if p.kind in named} - {"self"}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return accepted
    return None
