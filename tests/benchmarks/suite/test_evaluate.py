"""Suite files are evaluated, never executed: the allowed data, and hostile files."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.suite.evaluate import evaluate_file
from benchmarks.suite.load import load_suite
from contract.errors import UserError

# A hostile file that hangs fails here, and not after the ten minutes of other tests.
pytestmark = pytest.mark.timeout(60)


def evaluate(folder: Path, text: str | bytes) -> dict:
    path = folder / "own.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return evaluate_file(path)


def refusal(folder: Path, text: str | bytes) -> str:
    with pytest.raises(UserError) as caught:
        evaluate(folder, text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a = dict(b=1, **dict(c='d'))", {"b": 1, "c": "d"}),
        ("a = {**{'b': 1}, 'b': 2}", {"b": 2}),
        ("a = [*(1, 2), 3]", [1, 2, 3]),
        ("a = {1, 1.5}", {1, 1.5}),
        ("a = 4.4 * 8 * 120 / 60", 4.4 * 8 * 120 / 60),
        ("_b = [1]\na = _b + [-2]", [1, -2]),
        ("a = list(range(3))", [0, 1, 2]),
        ("a = [(x, y) for x in (1, 2) for y in 'x y'.split]", None),
        ("a = [(x, y) for x, y in [(1, 2), (3, 4)] if x > 1]", [(3, 4)]),
        ("a = [*(x * 2 for x in range(3))]", [0, 2, 4]),
        ("a = {x: not x for x in (True, False)}", {True: False, False: True}),
        ("a = 'b' if 'c' in ['c'] and None is None else 'd'", "b"),
        ("'''Words.'''\na = b = None", None),
        ("a = 'one ' 'text'", "one text"),
    ],
)
def test_evaluates_like_python(tmp_path, text, value):
    if "split" in text:
        assert "holds more than data: `'x y'.split`" in refusal(tmp_path, text)
    else:
        assert evaluate(tmp_path, text)["a"] == value


def test_underscore_names_are_private(tmp_path):
    assert evaluate(tmp_path, "_a = 1\nb = _a\n") == {"b": 1}


MARK = "__import__('pathlib').Path({!r}).touch()"


@pytest.mark.parametrize(
    "attempt",
    [
        "title = {}",
        "title = [{} for x in [1]]",
        'title = f"{{{}}}"',
        "title = (lambda: {})()",
        "title = (x := {})",
        "title: {} = 'a'",
        "title = ''\n{{}}[{}] = 1",
        "title = getattr({}, 'name')",
        "{}",
        "rows = [*{}]",
        "title = '%s' % {}",
        "def title(): {}",
        "title = [1, 2][{}]",
        "class A:\n    title = {}",
        "title = dict(**{})",
        "@{}\ndef title(): pass",
        "title = 'a'.join({})",
    ],
)
def test_runs_no_code(tmp_path, attempt):
    mark = tmp_path / "it ran"
    text = attempt.format(MARK.format(str(mark)))
    message = refusal(tmp_path, text)
    assert not mark.exists()
    assert "line " in message and "holds more than data" in message


@pytest.mark.parametrize("cookie", ["unicode_escape", "utf-7", "latin-1"])
def test_ignores_coding_cookie(tmp_path, cookie):
    mark = tmp_path / "it ran"
    hidden = MARK.format(str(mark))
    for text in (f"# coding: {cookie}\n#\\n{hidden}\n", f"# coding: {cookie}\n#+AAo-{hidden}\n"):
        assert evaluate(tmp_path, text) == {}
        assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("title = exit(0)", "line 1, holds more than data: it calls `exit`"),
        ("title = list(iter(int, 1))", "it calls `iter`"),
        ("a = 1\ntitle = 9**9**9", "line 2, holds more than data: `9 ** 9`"),
        ("seeds = list(range(10**9))", "`10 ** 9`"),
        ("seeds = range(1000000000)", "more than 100,000 items"),
        ("seeds = [0] * 1000000000", "`[0] * 1000000000`"),
        ("title = open('/etc/passwd')", "it calls `open`"),
        ("title = 'a' * 10 * 1000000000", "`'a' * 10`"),
        ("a = 999999999 * 999999999 * 999999999", "is larger than"),
        ("import os", "`import os`"),
        ("raise SystemExit(0)", "`raise SystemExit(0)`"),
        ("while True: pass", "`while True:`"),
        ("dict = 1\na = dict(b=2)", "line 2, holds more than data: it calls `dict`"),
        ("a = dict(b=1, **dict(b=2))", "has the key 'b' twice"),
        ("a = missing", "the name 'missing' is not assigned above"),
        ("a = 1 / 0", "ZeroDivisionError"),
        ("a = {[]: 1}", "TypeError"),
        ("a = ...", "`...`"),
        ("a = b'x'", "holds more than data"),
        ("a, b = 1, 2", "it assigns to `(a, b)`, which is not a name"),
    ],
)
def test_errors_name_line_and_reason(tmp_path, text, part):
    assert part in refusal(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "a = ['x']\n" + "a = [a, a]\n" * 60,
        "a = 'xxxxxxxxxx'\n" + "a = a + a\n" * 60,
        "a = [x for x in [0] " + "for x in [[x, x]] " * 60 + "]",
        "a = [0 for a in range(9999) for b in range(9999) for c in range(9999)]",
        "a = " + "[" * 90 + "]" * 90 + "\n" + "b = " + "-" * 5000 + "1",
        "a = " + "+".join(["1"] * 20000),
        "a = " + "'" + "x" * 2_000_000 + "'",
        "a = 'a\0b'",
        # Each step is small, and all of them together would take minutes or all memory.
        "r = range(100000)\na = [list(r) for _ in r]",
        "b = [0] + list(range(40000))\na = [b + b for _ in range(100000)]",
        "b = '" + "x" * 40000 + "'\na = [b + b for _ in range(100000)]",
        "b = list(range(90000))\na = [0 for _ in range(100000) if -1 in b]",
        "b = {x: x for x in range(40000)}\na = [{**b} for _ in range(100000)]",
        "b = dict(b={x: x for x in range(40000)})\na = [dict(**b) == b for _ in range(100000)]",
        "".join(f"a{n} = 0\n" for n in range(60000))
        + "a = [0 for _ in range(99000) for _ in (1, 2)]",
        b"a = '\xe9'",
        "a = (",
    ],
)
def test_unbounded_files_are_refused(tmp_path, text):
    assert refusal(tmp_path, text).startswith("The suite file ")


def test_suites_may_use_data_syntax(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        'base = "mini"\n'
        '_row = dict(backbone="resnet10_b-w24", recipe="standard")\n'
        'rows = [dict(name=f, tricks=[f], **_row) for f in ("cosine", "mixup")]\n'
        "seeds = range(3)\n",
        encoding="utf-8",
    )
    suite = load_suite(str(path))
    assert [row.tricks for row in suite.rows] == [("cosine",), ("mixup",)]
    assert suite.seeds == (0, 1, 2)
