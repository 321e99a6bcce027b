"""Find the files of the repository that a module imports, and hash their code.

Imports are read from the syntax trees, without importing anything. Imports inside functions count; those under
`if TYPE_CHECKING` do not.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from contract.errors import UserError

# The arguments of these calls are text for people.
_SPEAKING = ("print", "print_log", "warn")
_LOG_METHODS = ("debug", "info", "warning", "error", "exception", "critical", "log")
_LOGGERS = ("logger", "log", "logging")
_HELP_KEYWORDS = ("help", "metavar", "epilog")
_PARSER_KEYWORDS = (*_HELP_KEYWORDS, "prog", "description", "usage")


@cache
def import_closure(module: str, folder: Path, skipped: tuple[str, ...] = ()) -> tuple[Path, ...]:
    """Return the files below a folder that `python -m MODULE` can import, sorted.

    Args:
        module: A module or a package; of a package, `__main__` is part of it.
        folder: The folder of the top-level packages; modules outside it are not followed.
        skipped: Top-level packages that are not followed.

    Raises:
        UserError: A file does not parse.
    """
    found: set[Path] = set()
    waiting = [*_files_of(module, folder), *_files_of(f"{module}.__main__", folder)]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for name in _imports(path, folder):
            if name.partition(".")[0] not in skipped:
                waiting += [file for file in _files_of(name, folder) if file not in found]
    return tuple(sorted(found))


@cache
def _files_of(module: str, folder: Path) -> tuple[Path, ...]:
    """Return a module's file and the `__init__.py` of the packages around it; empty if it is not in the folder."""
    path, files = folder, []
    parts = module.split(".")
    for position, part in enumerate(parts):
        path = path / part
        if path.is_dir():
            files += [path / "__init__.py"] if (path / "__init__.py").is_file() else []
        elif position == len(parts) - 1 and path.with_suffix(".py").is_file():
            files.append(path.with_suffix(".py"))
        else:
            break
    return tuple(files)


@cache
def _imports(path: Path, folder: Path) -> tuple[str, ...]:
    """Return the dotted names that a file may import; some may be names of functions, not of modules."""
    package = path.parent.relative_to(folder).parts
    visitor = _Imports(package)
    visitor.visit(parse(path))
    return tuple(visitor.names)


class _Imports(ast.NodeVisitor):
    def __init__(self, package: Sequence[str]) -> None:
        self.names: list[str] = []
        self._package = package

    def visit_If(self, node: ast.If) -> None:
        test = node.test
        name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
        for statement in node.orelse if name == "TYPE_CHECKING" else [*node.body, *node.orelse]:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        self.names += [alias.name for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        above = self._package[: len(self._package) - node.level + 1] if node.level else ()
        base = ".".join([*above, *([node.module] if node.module else [])])
        self.names += [base, *(f"{base}.{alias.name}" for alias in node.names)]


def digests(files: Sequence[Path], folder: Path) -> Mapping[str, str]:
    """Return the digest of each file by its path relative to a folder."""
    return {path.relative_to(folder).as_posix(): source_digest(path) for path in files}


@cache
def source_digest(path: Path) -> str:
    """Return the digest of a Python file's code.

    Comments, layout, docstrings and texts for people are ignored. The tree is converted back to text, because that
    text, unlike a dump of the tree, is the same for all supported versions of Python.

    Raises:
        UserError: The file does not exist or does not parse.
    """
    tree = _WithoutTexts().visit(parse(path))
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file.

    Raises:
        UserError: The file does not exist or does not parse.
    """
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.") from error
    except (SyntaxError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None)
        place = f", line {line}," if line else ""
        raise UserError(f"{path}{place} is not valid Python: {error}.") from error


class _WithoutTexts(ast.NodeTransformer):
    """Remove docstrings, and the texts of errors, warnings, log lines and command-line help."""

    def visit(self, node: ast.AST) -> ast.AST:
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
        return super().visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if node.exc is not None:
            node.exc = _Blank().visit(node.exc)
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.msg = None
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if _speaks(node.func):
            node.args = [_Blank().visit(argument) for argument in node.args]
        name = _last_name(node.func)
        texts = _PARSER_KEYWORDS if name.endswith(("Parser", "add_parser")) else _HELP_KEYWORDS
        node.keywords = [keyword for keyword in node.keywords if keyword.arg not in texts]
        return self.generic_visit(node)


class _Blank(ast.NodeTransformer):
    """Replace every text by an empty one."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return ast.Constant("")


def _is_text(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _speaks(function: ast.expr) -> bool:
    name = _last_name(function)
    if name in _SPEAKING:
        return True
    if not isinstance(function, ast.Attribute) or name not in _LOG_METHODS:
        return False
    owner = _last_name(function.value)
    return owner.lstrip("_").lower() in _LOGGERS


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        return _last_name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def literal(path: Path, name: str, default: object) -> object:
    """Return the literal that a file assigns to a name at its top level.

    Raises:
        UserError: The value is not a literal.
    """
    for statement in parse(path).body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in statement.targets
        ):
            try:
                return ast.literal_eval(statement.value)
            except ValueError as error:
                raise UserError(
                    f"{path}, line {statement.lineno}: `{name}` must be written out as plain "
                    "strings, so that the files it names can be part of a run's identity."
                ) from error
    return default


def assignments_without(path: Path, names: Sequence[str], hook: Sequence[str]) -> str:
    """Return a config as code without texts, without the settings of these names and without this hook."""
    tree = _WithoutSettings(names, hook).visit(_WithoutTexts().visit(parse(path)))
    return ast.unparse(tree)


class _WithoutSettings(ast.NodeTransformer):
    def __init__(self, names: Sequence[str], hook: Sequence[str]) -> None:
        self._names = names
        self._hook = hook
        self._inside: list[str] = []

    def _drops(self, name: str | None) -> bool:
        return name in self._names or (self._inside[-1:], name) == ([self._hook[0]], self._hook[1])

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        name = getattr(node.targets[0], "id", None)
        if self._drops(name):
            return None
        return self._within(name, node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        kept = [keyword for keyword in node.keywords if not self._drops(keyword.arg)]
        for keyword in kept:
            self._within(keyword.arg, keyword)
        node.keywords = kept
        node.args = [self.visit(argument) for argument in node.args]
        return node

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        names = [getattr(key, "value", None) for key in node.keys]
        kept = [place for place, name in enumerate(names) if not self._drops(name)]
        for place in kept:
            node.values[place] = self._within(names[place], node.values[place])
        node.keys = [node.keys[place] for place in kept]
        node.values = [node.values[place] for place in kept]
        return node

    def _within(self, name: str | None, node: Any) -> Any:
        self._inside.append(name or "")
        try:
            # A value is a node to visit; an assignment or a keyword only contains one.
            return self.visit(node) if isinstance(node, ast.expr) else self.generic_visit(node)
        finally:
            self._inside.pop()


def own_files(spec: str, libraries: Sequence[str]) -> Iterator[Path]:
    """Yield the files behind a user's spec such as `package.module:Class`; none for other specs.

    These are all files of the top-level package, because a class may use any of them.
    """
    import importlib.util

    path, colon, _ = spec.partition(":")
    top = path.partition(".")[0]
    if not colon or top in libraries:
        return
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return
    if found is None or found.origin in ("built-in", "frozen"):
        return
    folders = list(found.submodule_search_locations or ())
    if folders:
        yield from sorted(Path(folders[0]).rglob("*.py"))
    elif found.origin is not None:
        yield Path(found.origin)
