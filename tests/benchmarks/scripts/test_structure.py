"""Counts of a checkout's structure, on a small one."""

import ast
import subprocess
from pathlib import Path

from benchmarks.scripts.structure import (
    import_depth,
    imports,
    main,
    python_files,
    task_enumerations,
)


def _checkout(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    return folder


def test_imports_and_depth(tmp_path):
    root = _checkout(
        tmp_path,
        {
            "benchmarks/__init__.py": "",
            "benchmarks/a.py": "from benchmarks import b\nimport os\n",
            "benchmarks/b.py": "from low.c import thing\n",
            "low/c.py": "def later():\n    import benchmarks.a\n",
        },
    )
    graph = imports(root, python_files(root))
    assert graph["benchmarks.a"] == {"benchmarks.b"}
    assert graph["benchmarks.b"] == {"low.c"}
    # c imports a again, which is above it.
    assert import_depth(graph) == 3


def test_task_enumerations():
    text = """
one = {"cls": 1}
two = {"cls": 1, "det": 2}
three = ("det", "seg", "other")
four = [("cls", 1), ("seg", 2)]
five = dict(det=1, seg=2)
six = f(det=1, other=2)
seven = ["cls", "cls"]
"""
    assert list(task_enumerations(ast.parse(text))) == [3, 4, 5, 6]


def test_main_prints_counts(tmp_path, capsys):
    root = _checkout(tmp_path, {"benchmarks/a.py": "x = 1\n", "tests/test_a.py": "\n\n"})
    main(Path(root))
    lines = [line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert dict(lines)["lines, without tests"] == "1"
    assert dict(lines)["lines of tests"] == "2"
    assert dict(lines)["modules at the top of benchmarks/"] == "1"
