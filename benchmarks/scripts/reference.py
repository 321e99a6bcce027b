"""Write the reference pages of suite keys and result fields: `python -m benchmarks.scripts.reference`."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from benchmarks.suite import model as suite
from contract import result
from contract.files import write_text
from contract.settings import ROOT
from contract.tasks import TASKS

_HEAD = (
    "<!-- Written by `python -m benchmarks.scripts.reference` from the models; do not edit. -->\n"
)
_ATTRIBUTES = re.compile(r"^Attributes:\n(.*?)(?:\n\n|\Z)", re.S | re.M)
_ATTRIBUTE = re.compile(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", re.S | re.M)


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return what the docstrings of a model and of its bases say of each attribute."""
    found: dict[str, str] = {}
    for cls in reversed(inspect.getmro(model)):
        if cls.__module__.startswith("pydantic"):
            continue
        section = _ATTRIBUTES.search(inspect.cleandoc(cls.__doc__ or ""))
        if section:
            found |= {
                name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(section[1] + "\n")
            }
    return found


def type_name(annotation: Any) -> str:
    """Return a type as a reader of JSON or of a suite file would say it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(argument) for argument in arguments)
    if origin is typing.Literal:
        return " or ".join(f"`{value!r}`" for value in arguments)
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin in (tuple, list):
        return f"list of {type_name(arguments[0])}"
    if origin is not None and len(arguments) == 2:
        return f"dict of {type_name(arguments[1])} by {type_name(arguments[0])}"
    names = {
        type(None): "null",
        str: "string",
        float: "number",
        int: "integer",
        bool: "bool",
        Any: "anything",
        Path: "string",
    }
    return names.get(annotation) or getattr(annotation, "__name__", str(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return f"`{field.default_factory()!r}`"  # type: ignore[call-arg]
    return "" if field.default is PydanticUndefined else f"`{field.default!r}`"


def section(model: type[BaseModel], left_out: Iterable[str] = ()) -> str:
    """Return the Markdown section on one model: its summary and a table of its keys."""
    texts = descriptions(model)
    summary = inspect.cleandoc(model.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    lines = [
        f"## {model.__name__}",
        "",
        summary,
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in model.model_fields.items():
        if field.exclude or name in left_out:
            continue
        meaning = texts.get(name, "").replace("|", "\\|")
        lines.append(
            f"| `{field.alias or name}` | {type_name(field.annotation)} | {_default(field)} | {meaning} |"
        )
    return "\n".join(lines)


def suite_page() -> str:
    """Return the page on suite files."""
    tasks = ", ".join(f"`{name}`" for name in TASKS)
    introduction = f"""\
A suite is a Python file that assigns values to names. It is evaluated as data and never executed: literals, `dict(…)`,
lists, tuples, numbers with `+ - * /`, `range`, comprehensions, and names that are assigned above. A mistake is an error
with its line.

    base = "mini"                      # inherit from a built-in suite or from another file
    seeds = [0, 1, 2]
    add_rows = [
        dict(name="mine", backbone="resnet18_d", cls=dict(recipe="efficient", tricks=["cosine"]), det=dict(lr=0.3)),
    ]

| key | meaning |
|---|---|
| `base` | name or path of the suite to inherit from |
| `tasks` | task setups by name ({tasks}); None leaves out a task of the base. `stages` is the older spelling |
| `datasets` | datasets by name |
| `rows` | the rows of the table; they replace those of the base |
| `add_rows` | rows after those of the base |
| `teachers` | rows whose classifiers are trained once and teach others |
| the keys of `Head` | see below |

A row has the keys of `Row`, and for each task a dict of the keys of `TaskOptions`: `det=dict(lr=0.3)`. The keys of
classification may stand in the row itself (`recipe`, `tricks`, `requires`, `teacher`), and `det_tricks` and `det_lr`
(and those of other tasks) are older spellings of the same. `like="other row"` copies how another row is pretrained and
transferred. `weights` is the path of a pretrained checkpoint, or `"published"`."""
    sections = [
        section(suite.Head),
        section(suite.Row, ("tasks", "published", "added")),
        section(suite.TaskOptions),
        section(suite.TaskSetup),
        section(suite.WrittenDataset),
        section(suite.SmokeFolder),
    ]
    return _page("Suite keys", introduction, sections)


def result_page() -> str:
    """Return the page on result files."""
    introduction = """\
Every run writes `result.json`, schema version 1, atomically and last. `contract.result.read_result` reads it and says
what is wrong with a file that it refuses. [An example](examples/result.json)."""
    models = (
        result.Result,
        result.Metric,
        result.DataUse,
        result.LoadReport,
        result.Estimate,
        result.ModelSize,
        result.PrecisionUse,
        result.NumericsUse,
        result.Device,
        result.Code,
    )
    metrics = ["## Metrics", "", "| task | name | label | unit | better |", "|---|---|---|---|---|"]
    for task in TASKS.values():
        for metric in task.metrics:
            better = "higher" if metric.higher_is_better else "lower"
            metrics.append(
                f"| {task.name} | `{metric.name}` | {metric.label} | {metric.unit} | {better} |"
            )
    return _page("Result fields", introduction, [*map(section, models), "\n".join(metrics)])


def _page(title: str, introduction: str, sections: Iterable[str]) -> str:
    return "\n\n".join([f"{_HEAD}\n# {title}", introduction, *sections]) + "\n"


PAGES = {"suite_keys.md": suite_page, "result_fields.md": result_page}


def main(folder: Path = ROOT / "docs") -> None:
    """Write the pages."""
    for name, make in PAGES.items():
        write_text(folder / name, make())


if __name__ == "__main__":
    main()
