"""pydantic models whose errors read like sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from contract.errors import unknown


class Model(BaseModel):
    """A frozen record; unknown keys and values of another type are errors, and int passes for float."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", populate_by_name=True, protected_namespaces=()
    )


def problems(error: ValidationError, known: Iterable[str] = ()) -> Iterator[str]:
    """Yield one sentence for each mistake that pydantic found.

    Args:
        error: What pydantic raised.
        known: The keys that exist, to suggest a close one for an unknown key.
    """
    for entry in error.errors(include_url=False):
        yield _sentence(entry, list(known))


def _sentence(entry: Mapping[str, Any], known: list[str]) -> str:
    where = location(entry["loc"])
    kind, got = entry["type"], entry["input"]
    if kind == "missing":
        return f"it has no key '{where}'."
    if kind == "extra_forbidden":
        return f"{unknown('key', where, known)}."
    if kind in ("json_invalid", "value_error"):
        return f"{entry['msg'].removeprefix('Value error, ')}."
    expected = entry["msg"].removeprefix("Input should be ")
    return f"'{where}' is {_shown(got)}, expected {expected}."


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def location(parts: Iterable[str | int]) -> str:
    """Return a dotted path to a value, for example `metrics[0].value`."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def choices(annotation: Any) -> tuple[str, ...]:
    """Return the values of a `Literal`."""
    return get_args(annotation)
