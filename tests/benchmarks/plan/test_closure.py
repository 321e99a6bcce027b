"""The files that a module imports, and the texts in them that cannot change a number."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.plan import closure, identity
from benchmarks.suite.names import ROOT
from contract.tasks import TASKS


def _write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _closure(folder: Path, module: str) -> set[str]:
    closure.import_closure.cache_clear()
    files = closure.import_closure(module, folder, ("names",))
    return {path.relative_to(folder).as_posix() for path in files}


def test_follows_imports_from_syntax(tmp_path):
    _write(
        tmp_path,
        task__train=(
            "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nimport torch, names\n"
            "from task import data as d\nfrom . import metric\nfrom .sub.deep import x\n"
            "if TYPE_CHECKING:\n    from task import types_only\nelse:\n    import task.other\n"
            "def f():\n    import task.lazy\n"
        ),
        task__data="",
        task__metric="from .sub import deep\n",
        task__sub__deep="from .. import above\nfrom ..sibling import y\nx = 1\n",
        task__above="",
        task__sibling="",
        task__types_only="",
        task__lazy="",
        task__other="",
        task__unused="",
        names="",
    )
    (tmp_path / "task" / "__init__.py").write_text("", encoding="utf-8")
    assert _closure(tmp_path, "task.train") == {
        "task/__init__.py",
        *(f"task/{name}.py" for name in ("train", "data", "metric", "above", "sibling", "lazy")),
        "task/other.py",
        "task/sub/deep.py",
    }


def test_package_runs_its_main_module(tmp_path):
    _write(tmp_path, probe__main="", probe__other="")
    (tmp_path / "probe" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "probe" / "__main__.py").write_text("from probe import main\n", encoding="utf-8")
    assert _closure(tmp_path, "probe") == {
        "probe/__init__.py",
        "probe/__main__.py",
        "probe/main.py",
    }


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("raise ValueError('a')", "raise ValueError('b')", True),
        ("raise ValueError(f'a {x}') from e", "raise ValueError('b') from e", True),
        ("raise ValueError(1)", "raise KeyError(1)", False),
        ("print('a', x)", "print(f'b {x}', x)", True),
        ("self.logger.warning('a')", "self.logger.warning('b')", True),
        ("logging.info('a')", "logging.info('b')", True),
        ("math.log('a')", "math.log('b')", False),
        ("warnings.warn('a')", "warnings.warn('b')", True),
        ("assert x, 'a'", "assert x, 'b'", True),
        ("add('--x', help='a', type=int)", "add('--x', help='b', type=int)", True),
        ("add('--x', default='a')", "add('--x', default='b')", False),
        ("Parser(description='a')", "Parser(description='b')", True),
        ("Row(description='a')", "Row(description='b')", False),
        ("x = 'a'", "x = 'b'", False),
        ("def f():\n    'a'", "def f():\n    'b'\n    # c", True),
        ("x = 1", "x = 2", False),
    ],
)
def test_docstrings_and_comments_do_not_count(tmp_path, one, other, same):
    digests = []
    for text in (one, other):
        path = tmp_path / f"{len(digests)}.py"
        path.write_text(text + "\n", encoding="utf-8")
        digests.append(closure.source_digest(path))
    assert (digests[0] == digests[1]) == same


def test_real_tasks_exclude_unimported_files():
    for task in TASKS:
        files = identity.task_code(task, ROOT)
        assert not any(name.startswith(("contract/", "benchmarks/")) for name in files)
        assert not any("backbones/__main__" in name or "importing" in name for name in files), task
    det, seg = (set(identity.task_code(task, ROOT)) for task in ("det", "seg"))
    assert not any(name.startswith("seg/") for name in det)
    assert not any(name.startswith("det/") for name in seg)
    assert {name for name in det if name.startswith("engine/")}


def test_identity_covers_every_imported_module():
    """An import that the syntax does not show would let a stale result count."""
    import subprocess
    import sys

    code = (
        "import sys, {0}\n"
        "for name, module in sorted(sys.modules.items()):\n"
        "    print(getattr(module, '__file__', None) or '')"
    )
    for task in TASKS.values():
        command = [sys.executable, "-W", "ignore", "-c", code.format(task.module)]
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        loaded = {
            Path(line).relative_to(ROOT).as_posix()
            for line in answer.stdout.splitlines()
            if line.startswith(f"{ROOT}/") and "/.venv/" not in line and line.endswith(".py")
        }
        loaded = {name for name in loaded if not name.startswith("contract/")}
        assert loaded <= set(identity.task_code(task.name, ROOT)), task.name
