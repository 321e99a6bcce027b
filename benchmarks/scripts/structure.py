"""Measure the structure of a checkout: lines, modules, import depth, and places that enumerate the tasks.

`python -m benchmarks.scripts.structure [CHECKOUT]` prints the counts of docs/LOG.md, for any commit of this repository.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from contract.settings import ROOT
from contract.tasks import TASKS

# Suites and configs name tasks because they are about tasks.
_DATA_FOLDERS = {"suites", "configs"}


def python_files(root: Path) -> list[Path]:
    """Return the tracked Python files of a checkout, relative to it."""
    command = ["git", "ls-files", "*.py"]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return [Path(line) for line in answer.stdout.splitlines()]


def is_test(file: Path) -> bool:
    """Return whether a file belongs to the tests."""
    return file.parts[0] == "tests"


def count_lines(root: Path, files: list[Path]) -> int:
    """Return the number of lines of some files."""
    return sum(len((root / file).read_text(encoding="utf-8").splitlines()) for file in files)


def imports(root: Path, files: list[Path]) -> dict[str, set[str]]:
    """Return the modules of the checkout that each module imports, by dotted name."""
    names = {_module(file): file for file in files}
    found: dict[str, set[str]] = {}
    for name, file in names.items():
        mentioned: set[str] = set()
        for node in ast.walk(_tree(root / file)):
            if isinstance(node, ast.Import):
                mentioned |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                mentioned |= inner & names.keys() or {node.module}
        found[name] = (mentioned & names.keys()) - {name}
    return found


def import_depth(graph: Mapping[str, set[str]]) -> int:
    """Return the number of modules on the longest chain of imports; a cycle is followed once."""
    known: dict[str, int] = {}

    def depth(module: str, above: frozenset[str]) -> int:
        if module not in known:
            below = [depth(d, above | {d}) for d in graph.get(module, ()) if d not in above]
            known[module] = 1 + max(below, default=0)
        return known[module]

    return max((depth(module, frozenset([module])) for module in graph), default=0)


def task_enumerations(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of displays and calls that name two tasks or more."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            entries = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            entries = [
                entry.elts[0] if isinstance(entry, ast.Tuple) and entry.elts else entry
                for entry in node.elts
            ]
        elif isinstance(node, ast.Call):
            if len({keyword.arg for keyword in node.keywords} & TASKS.keys()) > 1:
                yield node.lineno
            continue
        else:
            continue
        if len({entry.value for entry in entries if _names_task(entry)}) > 1:  # type: ignore[attr-defined]
            yield node.lineno


def _names_task(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value in TASKS


def _module(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def main(root: Path) -> None:
    """Print the counts."""
    files = python_files(root)
    code = [file for file in files if not is_test(file)]
    graph = imports(root, code)
    harness = {name: below for name, below in graph.items() if name.split(".")[0] == "benchmarks"}
    inside = {name: below & harness.keys() for name, below in harness.items()}
    judged = [file for file in code if not _DATA_FOLDERS & set(file.parts)]
    trees = {file: _tree(root / file) for file in judged}
    places = {file: list(task_enumerations(tree)) for file, tree in trees.items()}
    literals = {file: sum(map(_names_task, ast.walk(tree))) for file, tree in trees.items()}
    figures = {
        "lines, without tests": count_lines(root, code),
        "lines of tests": count_lines(root, [file for file in files if is_test(file)]),
        "modules at the top of benchmarks/": sum(
            file.parts[0] == "benchmarks" and len(file.parts) == 2 for file in code
        ),
        "import depth of benchmarks": import_depth(inside),
        "import depth of all": import_depth(graph),
        "places that enumerate the tasks": sum(map(len, places.values())),
        "files with such a place": sum(map(bool, places.values())),
        "names of tasks as literals": sum(literals.values()),
    }
    for what, value in figures.items():
        print(f"{what:36s} {value:7,d}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
