"""Files are complete or absent."""

import errno
import json
import os

import pytest

from contract.files import file_sha256, read_json, write_json, write_text


def _only(folder):
    return sorted(path.name for path in folder.iterdir())


def test_round_trip(tmp_path):
    path = tmp_path / "made" / "result.json"
    content = {"b": [1, 2.5, None], "a": {"ü": "×"}}
    write_json(path, content)
    assert json.loads(path.read_text(encoding="utf-8")) == content
    assert _only(path.parent) == ["result.json"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_full_disk_keeps_old_file(tmp_path, monkeypatch, failing):
    path = tmp_path / "result.json"
    write_json(path, {"old": 1})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_json(path, {"new": list(range(100_000))})
    assert caught.value.errno == errno.ENOSPC
    assert json.loads(path.read_text()) == {"old": 1}
    assert _only(tmp_path) == ["result.json"]


def test_interruption_keeps_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_json(path, {"old": 1})

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"new": 1})
    assert json.loads(path.read_text()) == {"old": 1}
    assert _only(tmp_path) == ["result.json"]


def test_file_appears_when_complete_and_synced(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    happened = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda f: (happened.append("fsync"), fsync(f)))

    def watched(source, target):
        happened.append("replace")
        assert os.path.dirname(source) == str(tmp_path)
        with open(source, encoding="utf-8") as file:
            assert json.load(file) == {"new": 1}
        assert not path.exists()
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    write_json(path, {"new": 1})
    assert happened == ["fsync", "replace"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_non_json_value_is_refused(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "result.json", {"value": value})
    assert _only(tmp_path) == []


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a": 1}\x00', "[" * 100_000, "3"])
def test_damaged_file_is_none(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    assert read_json(path) is None
    assert read_json(tmp_path / "absent.json") is None
    assert read_json(tmp_path) is None


def test_digest_follows_content(tmp_path):
    path = tmp_path / "x"
    write_text(path, "one")
    # sha256sum of the three bytes
    assert file_sha256(path) == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    write_text(path, "other")
    assert file_sha256(path) != "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
