"""The result file: whole or absent, and true to its schema."""

import errno
import json
import os
import subprocess

import pytest

from engine import result
from engine.result import Metric, write_json, write_result


def _only(folder):
    return sorted(path.name for path in folder.iterdir())


def test_content_comes_back(tmp_path):
    path = tmp_path / "made" / "result.json"
    content = {"b": [1, 2.5, None], "a": {"ü": "×"}}
    write_json(path, content)
    assert json.loads(path.read_text(encoding="utf-8")) == content
    assert _only(path.parent) == ["result.json"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, failing):
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


def test_an_interruption_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_json(path, {"old": 1})

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"new": 1})
    assert json.loads(path.read_text()) == {"old": 1}
    assert _only(tmp_path) == ["result.json"]


def test_the_file_appears_only_when_it_is_whole_and_on_disk(tmp_path, monkeypatch):
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
def test_a_metric_that_is_no_number_is_refused(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_result(tmp_path / "result.json", [Metric("top1", value)], {})
    assert _only(tmp_path) == []


def test_the_schema(tmp_path):
    path = tmp_path / "result.json"
    metrics = [Metric("top1", 71.25), Metric("top5", 90.0)]
    write_result(path, metrics, {"stage": "cls", "seed": 3})
    written = json.loads(path.read_text())
    assert written["schema_version"] == 1
    assert written["status"] == "completed"
    assert (written["stage"], written["seed"]) == ("cls", 3)
    assert written["metrics"] == [
        {"name": "top1", "value": 71.25, "unit": "%", "higher_is_better": True},
        {"name": "top5", "value": 90.0, "unit": "%", "higher_is_better": True},
    ]
    assert set(written["code"]) == {"git_sha", "dirty"}
    assert set(written["device"]) == {"type", "name", "count"}
    assert written["packages"]["mmengine"] == "0.10.7"


def test_the_peak_is_that_of_this_process():
    block = bytearray(64 * 2**20)
    assert result.peak_memory_mib() > len(block) / 2**20


def test_a_stage_cannot_claim_another_outcome_of_the_metrics(tmp_path):
    path = tmp_path / "result.json"
    write_result(path, [Metric("map", 1.0)], {"metrics": "other", "code": "other"})
    written = json.loads(path.read_text())
    assert written["metrics"][0]["name"] == "map"
    assert written["code"] != "other"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            {"rev-parse": (0, "abc\n"), "status": (0, "")},
            {"git_sha": "abc", "dirty": False},
        ),
        (
            {"rev-parse": (0, "abc\n"), "status": (0, " M engine/hooks.py\n")},
            {"git_sha": "abc", "dirty": True},
        ),
        ({"rev-parse": (128, ""), "status": (128, "")}, {"git_sha": None, "dirty": None}),
    ],
)
def test_the_code_s_version(monkeypatch, answers, expected):
    def answer(command, **_):
        status, text = answers[command[1]]
        return subprocess.CompletedProcess(command, status, text, "")

    monkeypatch.setattr(result.subprocess, "run", answer)
    assert result.code_version() == expected


def test_a_machine_without_git(monkeypatch):
    def absent(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(result.subprocess, "run", absent)
    assert result.code_version() == {"git_sha": None, "dirty": None}
