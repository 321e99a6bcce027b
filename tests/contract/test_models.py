"""Files that do not match a model are refused with one sentence."""

from __future__ import annotations

from typing import Literal

import pytest

from contract.errors import UserError
from contract.models import Model, read_model


class Part(Model):
    size: int


class File(Model):
    schema_version: Literal[2]
    parts: tuple[Part, ...]


def refusal(path, text, newer=""):
    path.write_bytes(text)
    with pytest.raises(UserError) as error:
        read_model(path, File, "Write it again.", newer)
    return str(error.value).removeprefix(str(path))


def test_unknown_keys_are_ignored(tmp_path):
    path = tmp_path / "file.json"
    path.write_text('{"schema_version": 2, "more": 1, "parts": [{"size": 3, "colour": 4}]}')
    assert read_model(path, File, "").parts[0].size == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"schema_version": 2', " is not valid JSON (EOF while parsing an object at line 1"),
        (b"\xff\xfe", " is not valid JSON ('utf-8' codec can't decode"),
        (b"[]", ": it is [], expected an object."),
        (b'{"parts": []}', ": it has no key 'schema_version'."),
        (b'{"schema_version": 2}', ": it has no key 'parts'."),
        (
            b'{"schema_version": 2, "parts": [3, {}, {"size": "1"}, {}]}',
            ": 'parts[0]' is 3, expected an object. It has no key 'parts[1].size'. 'parts[2].size' is '1', expected a "
            "valid integer. (1 more.) Write it again.",
        ),
    ],
)
def test_errors_name_the_place(tmp_path, text, message):
    found = refusal(tmp_path / "file.json", text)
    assert found.startswith(message)
    assert found.endswith(" Write it again.")


def test_newer_version_is_explained(tmp_path):
    text = b'{"schema_version": 3}'
    assert refusal(tmp_path / "file.json", text, "Upgrade.") == (
        " has schema_version 3; this version reads 2. Upgrade. Write it again."
    )
    assert refusal(tmp_path / "file.json", text) == (
        " has schema_version 3; this version reads 2. Write it again."
    )


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"file\.json does not exist\. Write it again\."):
        read_model(tmp_path / "file.json", File, "Write it again.")
    with pytest.raises(UserError, match="cannot be read"):
        read_model(tmp_path, File, "Write it again.")
