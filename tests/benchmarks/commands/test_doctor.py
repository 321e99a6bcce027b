"""The findings of the doctor and their severity."""

from __future__ import annotations

import argparse
import errno
from collections import namedtuple
from pathlib import Path

import pytest
from rich.console import Console
from support.gpus import listing, stub_nvidia_smi

from benchmarks.commands import doctor
from benchmarks.commands.doctor import NOTE, OK, REPAIR, unmet
from benchmarks.suite.names import ROOT
from contract.errors import UserError

Usage = namedtuple("Usage", "total used free")
SUITE = """
base = "stack-mini"
datasets = dict(cls=dict(kind="imagefolder", path={path!r}, generate={generate!r}))
stages = dict(cls=dict(config={config!r}, data="cls"))
"""


def suite_file(
    folder: Path, path: str, generate: str | None = None, config: str = "cls_train/configs/mini.py"
) -> str:
    """Write a suite of one task; return its path."""
    file = folder / "own.py"
    file.write_text(SUITE.format(path=path, generate=generate, config=config), encoding="utf-8")
    return str(file)


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10 * 2**30, 9 * 2**30, 2**30))


def test_missing_data_is_not_a_fault(tmp_path: Path) -> None:
    name = suite_file(tmp_path, "my-pictures")
    assert doctor._obstacle(name, ROOT) == ("full runs need my-pictures", NOTE)
    (tmp_path / "my-pictures").mkdir()
    assert doctor._obstacle(name, ROOT) == ("data, configs and tricks are there", OK)


def test_generated_data_blocks_nothing(tmp_path: Path) -> None:
    name = suite_file(tmp_path, "mini/cls", generate="mini")
    assert doctor._obstacle(name, ROOT)[1] == OK


def test_full_size_suite_can_run_smoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks" / "suites"
    monkeypatch.setattr("benchmarks.suite.names.SUITES", folder)
    monkeypatch.setattr("benchmarks.suite.load.ROOT", tmp_path)
    folder.mkdir(parents=True)
    text = (ROOT / "benchmarks" / "suites" / "table2.py").read_text(encoding="utf-8")
    (folder / "table2.py").write_text(text, encoding="utf-8")
    message = "full runs need imagenet; `--budget smoke` runs without"
    assert doctor._obstacle("table2", ROOT) == (message, NOTE)


def test_invalid_suite_is_a_fault(tmp_path: Path) -> None:
    name = suite_file(tmp_path, "x", generate="mini", config="cls_train/configs/minni.py")
    text, state = doctor._obstacle(name, ROOT)
    assert state == REPAIR
    assert "did you mean 'cls_train/configs/mini.py'?" in text and "\n" not in text


def test_missing_data_names_source_and_size(small_disk: None) -> None:
    text = doctor._missing(ROOT / "data" / "imagenet")
    assert "data/imagenet is not there; python -m benchmarks data prepare imagenet takes " in text
    assert text.endswith("GiB, and 1 GiB are free")
    small = doctor._missing(ROOT / "data" / "imagenette2-320")
    assert small.endswith(
        "data/imagenette2-320 is not there; python -m benchmarks data prepare imagenette"
    )
    assert doctor._missing(ROOT / "my-own") == f"{ROOT / 'my-own'} is not there"


def test_full_disk_blocks_every_suite(
    small_disk: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_tasks", lambda root: ([], ()))
    assert doctor.examine(Console(width=200), ROOT) == 1
    text = capsys.readouterr().out
    assert "1 GiB (wanted: 5)" in text and "all: free disk must be repaired first" in text


def test_failing_task_query_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    # A package, which goes before one of this name elsewhere in the path.
    (tmp_path / "engine" / "__init__.py").touch()
    (tmp_path / "engine" / "doctor.py").write_text("raise RuntimeError('no kernel')\n")
    (finding,), gpus = doctor._tasks(tmp_path)
    assert gpus == ()
    assert finding == ("tasks", "`python -m engine.doctor` failed: RuntimeError: no kernel", REPAIR)


def test_gpu_that_torch_cannot_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stub_nvidia_smi(monkeypatch, tmp_path, listing(0, 0))
    # No machine has so many, so torch finds none on a machine with GPUs either.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "63")
    assert doctor.examine(Console(width=400), ROOT) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("device ")]
    assert "2 GPUs are present (NVIDIA A100-SXM4-80GB" in line
    assert "CUDA_VISIBLE_DEVICES=63 names none of them" in line and "--device cpu" in line
    assert line.rstrip().endswith(REPAIR)


def test_small_shared_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(2**26, 0, 2**26))
    (finding,) = doctor._shared_memory(8)
    assert finding[0] == "shared memory" and finding[2] == NOTE
    assert "need 9.2 GiB for 8 run(s)" in finding[1] and "--shm-size=10g" in finding[1]
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(2**40, 0, 2**40))
    assert next(doctor._shared_memory(8))[2] == OK
    monkeypatch.setattr(doctor, "SHARED_MEMORY", tmp_path / "absent")
    assert not list(doctor._shared_memory(8))


def test_claims(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert doctor._claims(tmp_path) == (f"work in {tmp_path}", OK)
    assert list(tmp_path.iterdir()) == []
    text, state = doctor._claims(tmp_path / "absent")
    assert state == REPAIR and "cannot be written" in text

    def refuse(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("benchmarks.plan.claims.os.rename", refuse)
    text, state = doctor._claims(tmp_path)
    assert state == REPAIR and "cannot be written (Permission denied)" in text


@pytest.mark.parametrize(
    ("requirement", "version", "met"),
    [
        ("a>=2.11", "2.11.0a0+cu130", True),
        ("a>=2.11", "2.9.1", False),
        ("a<81,>=68", "80.10.2", True),
        ("a<81", "81", False),
        ("a==2.1.0", "2.1", True),
        ("a==2.1.0", "2.1.0.1", False),
        ("a; python_version < '3'", None, True),
        ("a", "0.1", True),
        ("a", None, False),
    ],
)
def test_versions_compare_as_numbers(monkeypatch, requirement, version, met) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda name: version)
    assert (unmet([requirement]) == []) == met


def test_full_mmcv_replaces_lite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_installed", {"mmcv": "2.1.0"}.get)
    assert unmet(["mmcv-lite==2.1.0"]) == []
    monkeypatch.setattr(doctor, "_installed", {}.get)
    assert unmet(["mmcv-lite==2.1.0"]) == ["mmcv-lite==2.1.0 (not installed)"]


def test_test_extra_is_complete() -> None:
    optional = doctor._project(ROOT / "pyproject.toml")["optional-dependencies"]
    assert set(optional["export"]) <= set(optional["test"])


@pytest.mark.parametrize("name", ["folder", "file/report.json", "/proc/none/report.json"])
def test_file_of_a_report_is_tried_before_the_checks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr(doctor, "print_findings", lambda *_: pytest.fail("the checks started"))
    options = argparse.Namespace(full=True, json=tmp_path / name, device="auto")
    with pytest.raises(UserError, match="this file cannot be written"):
        doctor.doctor(options)
