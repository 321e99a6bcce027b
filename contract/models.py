"""pydantic models whose errors read like sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from contract.errors import UserError, unknown

_MOST_PROBLEMS = 3


class Model(BaseModel):
    """A frozen record; unknown keys and wrong types are errors, except that an int is accepted as a float."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", populate_by_name=True, protected_namespaces=()
    )


_Model = TypeVar("_Model", bound=Model)


def read_model(path: Path, model: type[_Model], fix: str, newer: str = "") -> _Model:
    """Read a JSON file that a program wrote; keys that the model does not have are ignored.

    Args:
        path: The file.
        model: What it holds.
        fix: How to repair a damaged file, in a sentence.
        newer: What to do if the file has another schema version, in a sentence.

    Raises:
        UserError: The file is missing, is not JSON, has another schema version, or does not fit the model.
    """
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8"), extra="ignore")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. {fix}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not valid JSON ({error}). {fix}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}). {fix}") from None
    except ValidationError as error:
        raise UserError(f"{path}{_refusal(error, newer)} {fix}") from None


def _refusal(error: ValidationError, newer: str) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f" is not valid JSON ({first.get('ctx', {}).get('error')})."
    for entry in error.errors(include_url=False):
        if entry["loc"] == ("schema_version",) and entry["type"] == "literal_error":
            expected = entry.get("ctx", {}).get("expected")
            return f" has schema_version {entry['input']}; this version reads {expected}.{newer and f' {newer}'}"
    found = list(problems(error))
    further = [sentence[0].upper() + sentence[1:] for sentence in found[1:_MOST_PROBLEMS]]
    more = len(found) - _MOST_PROBLEMS
    left_out = [f"({more} more.)"] if more > 0 else []
    return f": {' '.join([found[0], *further, *left_out])}"


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
    subject = f"'{where}'" if where else "it"
    return f"{subject} is {_shown(got)}, expected {expected}."


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
