"""`run --only`, with which a job of a cluster trains one run."""

from __future__ import annotations

from typing import Any

import pytest
from support.harness import Harness
from support.world import forget_digests

from contract.errors import UserError
from contract.files import read_json


@pytest.fixture
def harness(tmp_path, monkeypatch) -> Harness:
    return Harness(tmp_path, monkeypatch)


def test_one_run_as_a_job_calls_it(harness, capsys):
    """It trains nothing else, keeps what the plan says of other runs, and writes no report."""
    assert harness.run() == 0
    known = {run["path"]: run["identity"] for run in read_plan_of(harness)}
    harness.world.journal.unlink()
    (harness.world.root / "runs" / "tiny" / "report.html").unlink()
    harness.world.edit("seg/configs/mini.py", "_base_ = 'mmseg::fcn/fcn.py'\nlr = 2\n")
    forget_digests()
    assert harness.run("--only", "tricks/seg/0") == 0
    started = [line.split()[1] for line in harness.world.journal_lines("start")]
    assert started == ["tricks/seg/seed-0"]
    changed = {
        path for run in read_plan_of(harness) if known[path := run["path"]] != run["identity"]
    }
    assert changed == {"cells/tricks/seg/seed-0"}
    assert not (harness.world.root / "runs" / "tiny" / "report.html").exists()
    assert harness.run("--only", "tricks/seg/0") == 0
    assert len(harness.world.journal_lines("start")) == 1
    with pytest.raises(UserError, match=r"--only names tricks · seg · seed 9, which is no run"):
        harness.run("--only", "tricks/seg/9")


def test_one_run_without_its_classifier(harness, capsys):
    """It neither trains the classifier nor waits for it."""
    assert harness.run("--only", "tricks/seg/0") == 1
    sentence = "its classifier tricks · cls · seed 0 has no result"
    assert f"FAILED tricks · seg · seed 0: {sentence}" in capsys.readouterr().out
    failure = read_json(harness.world.root / "runs/tiny/cells/tricks/seg/seed-0/failure.json")
    assert failure is not None and failure["message"] == sentence
    assert harness.world.journal_lines() == []


def read_plan_of(harness: Harness) -> list[dict[str, Any]]:
    content = read_json(harness.world.root / "runs" / "tiny" / "plan.json")
    assert content is not None
    return content["runs"]
