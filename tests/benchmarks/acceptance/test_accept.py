"""The whole acceptance on a machine of fake commands: every verdict, the exit status, the file."""

from __future__ import annotations

import functools
import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from support.fake_machine import GPU_FACTS, FakeMachine, ended

from benchmarks import cli
from benchmarks.acceptance import accept, machine
from benchmarks.commands import doctor
from benchmarks.suite.names import ROOT
from contract.acceptance import Document, Line


class Acceptance:
    """Runs the acceptance with a fake machine."""

    def __init__(self, folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.machine = FakeMachine()
        self.file = folder / "report.json"
        self.text = ""
        session = functools.partial(accept.Session, execute=self.machine.execute)
        monkeypatch.setattr(accept, "Session", session)
        monkeypatch.setattr(accept, "prepare", lambda *_: data)
        monkeypatch.setattr(accept, "git_state", lambda: ("a" * 40, False))
        monkeypatch.setattr(machine, "query", lambda *_: "nvidia-smi is not there")
        monkeypatch.setattr(machine, "SHARED_MEMORY", folder)

    def run(self, device: str = "auto", repair: bool = False) -> int:
        output = io.StringIO()
        self.status = accept.accept(
            Console(file=output, width=200),
            ROOT,
            device=device,
            findings=[("Python", f"3.11 ({Path.home()}/venv/bin/python)", "ok")],
            repair=repair,
            target=self.file,
        )
        self.text = output.getvalue()
        return self.status

    @property
    def document(self) -> Document:
        return Document.model_validate(json.loads(self.file.read_text()), strict=False)

    def line(self, check: str) -> Line:
        (line,) = (line for line in self.document.checks if line.check == check)
        return line


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    for number in range(4):
        path = folder / "cls" / "train" / "a" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.fixture
def acceptance(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Acceptance:
    monkeypatch.setattr("benchmarks.acceptance.engine_checks.generate", lambda *_: data)
    return Acceptance(tmp_path, data, monkeypatch)


def test_good_machine(acceptance: Acceptance) -> None:
    assert acceptance.run() == 0
    document = acceptance.document
    failed = [line for line in document.checks if line.verdict == "failed"]
    assert failed == [] and document.exit_status == 0
    names = [line.check for line in document.checks]
    for name in (
        "ops of the engine", "speed of the engine", "memory of the engine",
        *(f"{case}, {precision}, cpu" for case in ("cls", "probe", "det", "det mini_c4", "seg")
          for precision in ("fp32", "bf16")),
        *(f"first loss of {case}, bf16" for case in ("cls", "det", "det mini_c4", "seg")),
        "kill and resume: cls", "kill and resume: det mini_c4",
        "a training with 2 processes by gloo", "an error on one of 2 processes by gloo",
        "claims in runs/", "peak memory of the trainings",
    ):  # fmt: skip
        assert name in names
    assert acceptance.line("every task, fp16").verdict == "skipped"
    assert acceptance.line("tests marked gpu").verdict == "skipped"
    # Every line is printed: verdict, check, found, expected.
    assert "2.00100 (0.050% off)" in acceptance.text
    assert f"{len(names)} checks in " in acceptance.text
    # Everything is hidden from torch but the CPU.
    commands = [environment for command, environment in acceptance.machine.commands[1:]]
    assert all(environment["CUDA_VISIBLE_DEVICES"] == "" for environment in commands)


def test_file_names_neither_user_nor_home(
    acceptance: Acceptance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setattr("platform.node", lambda: "node17")
    words = f"error: {ROOT}/data, /home/ada/x.jpg, /Users/grace/y.jpg, node17 and ada; Adam stays"
    acceptance.machine.faults = [(("seg.train", "bf16"), ended(2, words))]
    assert acceptance.run() == 1
    text = acceptance.file.read_text()
    assert "/home/ada" not in text and "grace" not in text and str(ROOT) not in text
    found = acceptance.line("seg, bf16, cpu").found
    assert found.endswith(
        "error: <repository>/data, ~/x.jpg, ~/y.jpg, <name> and <name>; Adam stays"
    )


def test_failed_training(acceptance: Acceptance) -> None:
    acceptance.machine.faults = [(("det.train", "mini_c4", "bf16"), ended(-11 + 150, "a\nboom\n"))]
    assert acceptance.run() == 1
    line = acceptance.line("det mini_c4, bf16, cpu")
    assert (line.verdict, line.found) == ("failed", "signal 11 ended it; last line: boom")
    assert acceptance.line("first loss of det mini_c4").verdict == "skipped"
    assert acceptance.line("first loss of cls, bf16").verdict == "ok"


def test_hanging_training(acceptance: Acceptance) -> None:
    acceptance.machine.faults = [(("seg.train", "fp32"), ended(None, "Iter 2\n"))]
    assert acceptance.run() == 1
    found = acceptance.line("seg, fp32, cpu").found
    assert found == "it did not end within 60 s; last line: Iter 2"


def test_other_device_than_asked_for(acceptance: Acceptance) -> None:
    def change(task: str, precision: str, content: dict) -> None:
        content["device"]["type"] = "cuda"

    acceptance.machine.change = change
    assert acceptance.run() == 1
    assert acceptance.line("cls, fp32, cpu").found == "it was computed on cuda"


def test_wrong_first_loss(acceptance: Acceptance) -> None:
    acceptance.machine.losses["bf16"] = [2.2, 1.9, 1.8]
    assert acceptance.run() == 1
    line = acceptance.line("first loss of seg, bf16")
    assert line.verdict == "failed" and line.found == "2.20000 (10.000% off)"


@pytest.mark.parametrize("peak", [0.0, 1e9, None])
def test_implausible_memory(acceptance: Acceptance, peak: float | None) -> None:
    def change(task: str, precision: str, content: dict) -> None:
        if (task, precision) == ("probe", "bf16"):
            content["peak_memory_mib"] = peak

    acceptance.machine.change = change
    assert acceptance.run() == 1
    assert acceptance.line("peak memory of the trainings").found == f"probe, bf16: {peak}"


def test_crash_of_the_engine_check(acceptance: Acceptance) -> None:
    acceptance.machine.faults = [(("engine.acceptance", "ops"), ended(1, "RuntimeError: no op"))]
    assert acceptance.run() == 1
    assert acceptance.line("ops").found == "exit status 1; last line: RuntimeError: no op"
    assert acceptance.line("memory of the engine").verdict == "ok"


def test_earlier_finding_counts(acceptance: Acceptance) -> None:
    assert acceptance.run(repair=True) == 1


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_engine_resolves_the_device(acceptance: Acceptance, device: str) -> None:
    acceptance.run(device=device)
    command, environment = acceptance.machine.commands[0]
    assert command[3:] == ["device", "--json", "--device", device]
    assert ("CUDA_VISIBLE_DEVICES" in environment) == (device == "cpu")
    # The facts decide where the other checks run.
    assert acceptance.line("cls, fp32, cpu").verdict == "ok"


def test_gpu(acceptance: Acceptance) -> None:
    acceptance.machine.facts = GPU_FACTS
    acceptance.machine.losses["bf16"] = [2.001, 1.9, 1.8]
    assert acceptance.run() == 0
    assert acceptance.line("cls, bf16, cuda").verdict == "ok"
    # Both precisions are compared with a run on the CPU.
    assert acceptance.line("first loss of cls, fp32").verdict == "ok"
    assert acceptance.line("a training with 1 process by NCCL").verdict == "ok"
    assert acceptance.line("driver and GPU memory").verdict == "note"


def test_options_belong_to_full() -> None:
    for words in (["--json", "x.json"], ["--device", "cpu"]):
        with pytest.raises(Exception, match="without --full, which they belong to"):
            doctor.doctor(cli.parse(["doctor", *words]))


def test_full_passes_findings_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    findings = [("tasks", "broken", doctor.REPAIR)]
    monkeypatch.setattr(doctor, "print_findings", lambda console, root: findings)
    asked = {}
    monkeypatch.setattr(doctor, "accept", lambda *_, **options: asked.update(options) or 1)
    words = ["doctor", "--full", "--json", str(tmp_path / "x.json"), "--device", "cpu"]
    assert doctor.doctor(cli.parse(words)) == 1
    assert asked == {
        "device": "cpu",
        "findings": findings,
        "repair": True,
        "target": tmp_path / "x.json",
    }
