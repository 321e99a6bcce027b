"""What the doctor finds, and what it makes of it."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import doctor
from benchmarks.doctor import MEND, NOTE, OK
from benchmarks.setup_environment import extras
from benchmarks.suite import ROOT

Usage = namedtuple("Usage", "total used free")
SUITE = """
base = "stack-mini"
datasets = dict(cls=dict(kind="imagefolder", path={path!r}, generate={generate!r}))
stages = dict(cls=dict(config={config!r}, data="cls"))
"""


def suite_file(
    folder: Path, path: str, generate: str | None = None, config: str = "cls_train/configs/mini.py"
) -> str:
    """Write a suite of one stage; returns its path."""
    file = folder / "own.py"
    file.write_text(SUITE.format(path=path, generate=generate, config=config), encoding="utf-8")
    return str(file)


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10 * 2**30, 9 * 2**30, 2**30))


def test_a_suite_whose_data_are_missing_is_no_fault(tmp_path: Path) -> None:
    name = suite_file(tmp_path, "my-pictures")
    assert doctor._obstacle(name, ROOT) == ("full runs need my-pictures", NOTE)
    (tmp_path / "my-pictures").mkdir()
    assert doctor._obstacle(name, ROOT) == ("data, configs and tricks are there", OK)


def test_generated_data_stop_nothing(tmp_path: Path) -> None:
    name = suite_file(tmp_path, "mini/cls", generate="mini")
    assert doctor._obstacle(name, ROOT)[1] == OK


def test_a_full_size_suite_says_that_its_smoke_run_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("benchmarks.suite.ROOT", tmp_path)
    folder = tmp_path / "benchmarks" / "suites"
    folder.mkdir(parents=True)
    text = (ROOT / "benchmarks" / "suites" / "table2.py").read_text(encoding="utf-8")
    (folder / "table2.py").write_text(text, encoding="utf-8")
    told = "full runs need imagenet; `--budget smoke` runs without"
    assert doctor._obstacle("table2", ROOT) == (told, NOTE)


def test_a_suite_with_a_mistake_is_a_fault_in_a_sentence(tmp_path: Path) -> None:
    name = suite_file(tmp_path, "x", generate="mini", config="cls_train/configs/minni.py")
    text, state = doctor._obstacle(name, ROOT)
    assert state == MEND
    assert "did you mean 'cls_train/configs/mini.py'?" in text and "\n" not in text


def test_missing_data_tell_how_they_are_had_and_whether_they_fit(small_disk: None) -> None:
    text = doctor._lacking(ROOT / "data" / "imagenet")
    assert "data/imagenet is not there; python -m benchmarks data prepare imagenet takes " in text
    assert text.endswith("GiB, and 1 GiB are free")
    small = doctor._lacking(ROOT / "data" / "imagenette2-320")
    assert small.endswith(
        "data/imagenette2-320 is not there; python -m benchmarks data prepare imagenette"
    )
    assert doctor._lacking(ROOT / "my-own") == f"{ROOT / 'my-own'} is not there"


def test_a_full_disk_stops_every_suite(
    small_disk: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_stages", lambda root: [])
    assert doctor.examine(Console(width=200), ROOT) == 1
    text = capsys.readouterr().out
    assert "1 GiB (wanted: 5)" in text and "all: free disk must be mended first" in text


def test_stages_that_cannot_be_asked_are_a_fault(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    # A package, which goes before one of this name elsewhere in the path.
    (tmp_path / "engine" / "__init__.py").touch()
    (tmp_path / "engine" / "doctor.py").write_text("raise RuntimeError('no kernel')\n")
    (finding,) = doctor._stages(tmp_path)
    assert finding == ("stages", "`python -m engine.doctor` failed: RuntimeError: no kernel", MEND)


def test_extras_are_read_from_their_section_alone(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[project]\ndependencies = ["torch"]\n\n[project.optional-dependencies]\n'
        'test = ["pytest>=8"]\nexport-all = [\n  "onnx",  # a remark\n  "onnxruntime>=1.2",\n]\n\n'
        '[tool.ruff]\nselect = ["E"]\n',
        encoding="utf-8",
    )
    assert extras(path) == {"test": ["pytest>=8"], "export-all": ["onnx", "onnxruntime>=1.2"]}
    path.write_text('[project]\ndependencies = ["torch"]\n', encoding="utf-8")
    assert extras(path) == {}
