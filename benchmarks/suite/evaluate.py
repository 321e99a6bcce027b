"""Evaluate the syntax tree of a suite file; nothing in the file is ever executed.

Allowed are assignments of literals, lists, tuples, sets and dicts, `dict(…)`, `list(…)`, `tuple(…)`, `set(…)`,
`range(…)`, names assigned above, arithmetic on numbers, `+` of texts and lists, comparisons, `a if b else c`, and
comprehensions. All of them have limits on steps and sizes.
"""

from __future__ import annotations

import ast
import operator
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from contract.errors import UserError

_MOST_BYTES = 1_000_000
_MOST_STEPS = 500_000
_MOST_ITEMS = 100_000
_MOST_NUMBER = 10**18
_PLAIN = (str, int, float, bool, type(None))
_NUMBERS = (int, float)
_SIZED = (str, list, tuple, set, dict, range)

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}
_CALLS: Mapping[str, Callable[..., Any]] = {
    "dict": dict,
    "list": list,
    "tuple": tuple,
    "set": set,
    "range": range,
}


class _Refused(Exception):
    """A node is not data; the message has the reason."""

    def __init__(self, node: ast.AST, why: str) -> None:
        super().__init__(why)
        self.line = getattr(node, "lineno", None)


def evaluate_file(path: Path) -> dict[str, Any]:
    """Return the values that a suite file assigns, except names that begin with an underscore.

    Raises:
        UserError: The file cannot be read, is not valid Python, or contains more than data.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"The suite file {path} cannot be read: {error}.") from error
    if len(data) > _MOST_BYTES:
        raise UserError(
            f"The suite file {path} has {len(data):,} bytes; {_MOST_BYTES:,} are allowed."
        )
    try:
        # Decoded here, so a coding cookie has no effect.
        tree = ast.parse(data.decode("utf-8-sig"), filename=str(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        place = f", line {line}," if line else ""
        why = str(error) or type(error).__name__
        raise UserError(f"The suite file {path}{place} is not valid Python: {why}.") from error
    return _Evaluation(path).values(tree)


class _Evaluation:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._names: ChainMap[str, Any] = ChainMap()
        self._steps = 0

    def values(self, tree: ast.Module) -> dict[str, Any]:
        for statement in tree.body:
            try:
                self._assign(statement)
            except _Refused as refused:
                raise self._refusal(statement, refused.line, str(refused)) from None
            except RecursionError:
                raise self._refusal(statement, None, "it is nested too deeply") from None
            except (TypeError, ValueError, ArithmeticError, LookupError) as error:
                raise self._refusal(statement, None, f"{type(error).__name__}: {error}") from None
        return {name: value for name, value in self._names.items() if not name.startswith("_")}

    def _refusal(self, statement: ast.stmt, line: int | None, why: str) -> UserError:
        line = line or statement.lineno
        return UserError(
            f"The suite file {self._path}, line {line}, holds more than data: {why}. A suite assigns values to names "
            'and does nothing else; to inherit from another suite write `base = "mini"`.'
        )

    def _assign(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            return  # a docstring
        if not isinstance(statement, ast.Assign):
            raise _Refused(statement, f"`{_shown(statement)}`")
        value = self._value(statement.value)
        self._limit_size(statement, value)
        for target in statement.targets:
            if not isinstance(target, ast.Name):
                raise _Refused(target, f"it assigns to `{_shown(target)}`, which is not a name")
            self._names[target.id] = value

    def _value(self, node: ast.expr) -> Any:
        self._step(node)
        evaluate = getattr(self, f"_{type(node).__name__.lower()}", None)
        if evaluate is None:
            raise _Refused(node, f"`{_shown(node)}`")
        return evaluate(node)

    def _step(self, node: ast.AST, count: int = 1) -> None:
        self._steps += count
        if self._steps > _MOST_STEPS:
            raise _Refused(node, f"it takes more than {_MOST_STEPS:,} steps")

    def _constant(self, node: ast.Constant) -> Any:
        if not isinstance(node.value, _PLAIN):
            raise _Refused(node, f"`{_shown(node)}`")
        return node.value

    def _name(self, node: ast.Name) -> Any:
        if node.id not in self._names:
            raise _Refused(node, f"the name {node.id!r} is not assigned above")
        return self._names[node.id]

    def _list(self, node: ast.List) -> list[Any]:
        return list(self._items(node.elts))

    def _tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self._items(node.elts))

    def _set(self, node: ast.Set) -> set[Any]:
        return set(self._items(node.elts))

    def _items(self, nodes: list[ast.expr]) -> Iterator[Any]:
        for node in nodes:
            if isinstance(node, ast.Starred):
                yield from self._iterable(node.value)
            else:
                yield self._value(node)

    def _dict(self, node: ast.Dict) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                more = self._mapping(value)
                self._step(value, len(more))
                found |= more
            else:
                found[self._value(key)] = self._value(value)
        return found

    def _mapping(self, node: ast.expr) -> dict[Any, Any]:
        value = self._value(node)
        if not isinstance(value, dict):
            raise _Refused(node, f"`**{_shown(node)}` is not a dict")
        return value

    def _call(self, node: ast.Call) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in _CALLS or name in self._names:
            raise _Refused(node, f"it calls `{_shown(node.func)}`")
        keywords: dict[str, Any] = {}
        for keyword in node.keywords:
            more = (
                self._mapping(keyword.value)
                if keyword.arg is None
                else {keyword.arg: self._value(keyword.value)}
            )
            self._step(node, len(more))
            if twice := sorted(map(str, more.keys() & keywords.keys())):
                raise _Refused(node, f"{name}(…) has the key {twice[0]!r} twice")
            keywords |= more
        values = list(self._items(node.args))
        if name != "range":
            self._step(node, sum(len(value) for value in values if isinstance(value, _SIZED)))
        found = _CALLS[name](*values, **keywords)
        if name == "range" and len(found) > _MOST_ITEMS:
            raise _Refused(node, f"`{_shown(node)}` has more than {_MOST_ITEMS:,} items")
        return found

    def _binop(self, node: ast.BinOp) -> Any:
        left, right = self._value(node.left), self._value(node.right)
        combine = _BINARY.get(type(node.op))
        if isinstance(left, str | list | tuple) and isinstance(right, type(left)):
            if not isinstance(node.op, ast.Add):
                raise _Refused(node, f"`{_shown(node)}`")
            if len(left) + len(right) > _MOST_ITEMS:
                raise _Refused(node, f"`{_shown(node)}` is longer than {_MOST_ITEMS:,}")
            self._step(node, len(left) + len(right))
        elif combine is None or not all(isinstance(side, _NUMBERS) for side in (left, right)):
            raise _Refused(node, f"`{_shown(node)}`")
        assert combine is not None
        return self._bounded(node, combine(left, right))

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        change = _UNARY.get(type(node.op))
        value = self._value(node.operand)
        if change is None or not (isinstance(value, _NUMBERS) or change is operator.not_):
            raise _Refused(node, f"`{_shown(node)}`")
        return self._bounded(node, change(value))

    def _bounded(self, node: ast.AST, value: Any) -> Any:
        if isinstance(value, int) and abs(value) > _MOST_NUMBER:
            raise _Refused(node, f"`{_shown(node)}` is larger than {_MOST_NUMBER:.0e}")
        return value

    def _boolop(self, node: ast.BoolOp) -> Any:
        value: Any = None
        for entry in node.values:
            value = self._value(entry)
            if bool(value) == isinstance(node.op, ast.Or):
                break
        return value

    def _compare(self, node: ast.Compare) -> bool:
        left = self._value(node.left)
        for sign, entry in zip(node.ops, node.comparators, strict=True):
            right = self._value(entry)
            for side in (left, right):
                if isinstance(side, _SIZED):
                    self._limit_size(entry, side)
            if not _COMPARISONS[type(sign)](left, right):
                return False
            left = right
        return True

    def _ifexp(self, node: ast.IfExp) -> Any:
        return self._value(node.body if self._value(node.test) else node.orelse)

    def _listcomp(self, node: ast.ListComp) -> list[Any]:
        return self._comprehension(node, lambda: self._value(node.elt))

    def _generatorexp(self, node: ast.GeneratorExp) -> list[Any]:
        return self._comprehension(node, lambda: self._value(node.elt))

    def _setcomp(self, node: ast.SetComp) -> set[Any]:
        return set(self._comprehension(node, lambda: self._value(node.elt)))

    def _dictcomp(self, node: ast.DictComp) -> dict[Any, Any]:
        return dict(
            self._comprehension(node, lambda: (self._value(node.key), self._value(node.value)))
        )

    def _comprehension(self, node: Any, make: Callable[[], Any]) -> list[Any]:
        before = self._names
        found: list[Any] = []

        def walk(level: int) -> None:
            if level == len(node.generators):
                found.append(make())
                return
            loop = node.generators[level]
            outer = self._names
            for value in self._iterable(loop.iter):
                self._step(node)
                self._names = outer.new_child(self._bind(loop.target, value))
                if all(self._value(test) for test in loop.ifs):
                    walk(level + 1)
            self._names = outer

        try:
            walk(0)
        finally:
            self._names = before
        return found

    def _bind(self, target: ast.expr, value: Any) -> dict[str, Any]:
        if isinstance(target, ast.Name):
            # Otherwise nested loops could double a value at each level.
            self._limit_size(target, value)
            return {target.id: value}
        if isinstance(target, ast.Tuple | ast.List) and isinstance(value, list | tuple):
            bound: dict[str, Any] = {}
            for part, entry in zip(target.elts, value, strict=True):
                bound |= self._bind(part, entry)
            return bound
        raise _Refused(target, f"it assigns to `{_shown(target)}`")

    def _iterable(self, node: ast.expr) -> list[Any]:
        value = self._value(node)
        if not isinstance(value, list | tuple | set | range | dict):
            raise _Refused(node, f"`{_shown(node)}` is not a list")
        for _ in value:
            self._step(node)
        return list(value)

    def _limit_size(self, node: ast.AST, value: Any) -> None:
        """Refuse a value that is large when written out, although its parts are shared objects."""
        waiting, seen = [value], 0
        while waiting:
            self._step(node)
            seen += 1
            if seen > _MOST_ITEMS:
                raise _Refused(node, f"its value has more than {_MOST_ITEMS:,} items")
            current = waiting.pop()
            if isinstance(current, dict):
                waiting += [*current.keys(), *current.values()]
            elif isinstance(current, list | tuple | set | range):
                waiting += list(current)


def _shown(node: ast.AST) -> str:
    try:
        text = ast.unparse(node).splitlines()[0]
    except RecursionError:
        return type(node).__name__
    return text if len(text) <= 60 else f"{text[:57]}…"
