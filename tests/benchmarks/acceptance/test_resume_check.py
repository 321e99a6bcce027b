"""The check that kills and resumes, with fake trainings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.fake_machine import FakeMachine, ended

from benchmarks.acceptance import resume
from benchmarks.acceptance.session import Session
from benchmarks.suite.names import ROOT
from contract.acceptance import Line


class Resuming:
    """A fake machine whose resumed training may differ."""

    def __init__(self, folder: Path, device: str) -> None:
        self.machine = FakeMachine()
        self.session = Session(ROOT, folder, device, folder, 2, execute=self.execute)
        self.resumed_losses = self.machine.losses["fp32"]
        self.weights = self.machine.weights

    def execute(self, command, **options):
        if "--resume" in command:
            self.machine.losses["fp32"] = self.resumed_losses
            self.machine.weights = self.weights
        return self.machine.execute(command, **options)

    def line(self, number: int = 0) -> Line:
        (line,) = resume.checks(self.session)[number].lines()
        return line


def test_equal(tmp_path: Path) -> None:
    line = Resuming(tmp_path, "cpu").line()
    assert line.verdict == "ok"
    assert line.found == "3 losses equal, scores equal, weights equal"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_slightly_different(tmp_path: Path, device: str) -> None:
    resuming = Resuming(tmp_path, device)
    resuming.resumed_losses = [2.0, 1.9, 1.8001]
    resuming.weights = np.array([1, 1, 1, 1.002], np.float32)
    line = resuming.line()
    # On a GPU the order of sums is free.
    assert line.verdict == ("failed" if device == "cpu" else "ok")
    assert line.found == "3 losses up to 5.56e-05 apart, scores equal, weights up to 1.00e-03 apart"


def test_other_images(tmp_path: Path) -> None:
    resuming = Resuming(tmp_path, "cuda")
    resuming.resumed_losses = [2.0, 1.9, 1.7]
    assert resuming.line().verdict == "failed"


def test_losses_are_missing(tmp_path: Path) -> None:
    resuming = Resuming(tmp_path, "cpu")
    resuming.resumed_losses = [1.9, 1.8]
    assert resuming.line().found == "2 losses for 3 iterations"


@pytest.mark.parametrize(
    ("words", "outcome", "found"),
    [
        (("whole",), ended(1, "no GPU"), "uninterrupted: exit status 1; last line: no GPU"),
        (("--resume",), ended(1, "no sampler"), "resumed: exit status 1; last line: no sampler"),
        (("killed",), ended(0), "it ended before it was killed after iter_6.pth"),
    ],
)
def test_failures(tmp_path: Path, words, outcome, found: str) -> None:
    resuming = Resuming(tmp_path, "cpu")
    resuming.machine.faults = [(words, outcome)]
    line = resuming.line(1)
    assert (line.verdict, line.found) == ("failed", found)
