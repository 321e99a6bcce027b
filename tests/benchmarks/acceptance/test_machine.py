"""Shared memory, claims, and nvidia-smi by a stub."""

from __future__ import annotations

import errno
import os
from collections import namedtuple
from pathlib import Path

import pytest

from benchmarks.acceptance import gpu_tests, machine
from benchmarks.acceptance.session import Session
from benchmarks.plan import claims
from benchmarks.suite.names import ROOT
from contract.acceptance import Line

Usage = namedtuple("Usage", "total used free")
SMI = """#!/bin/sh
case "$1" in
--query-gpu=index,name*) printf '{gpus}' ;;
--query-compute-apps=pid) printf '{apps}' ;;
--query-gpu=index,ecc*) printf '{health}' ;;
esac
"""
GPUS = "0, NVIDIA A100, 580.65, 81920, {free}\\n1, NVIDIA A100, 580.65, 81920, 81000\\n"


def session(folder: Path, device: str = "cuda") -> Session:
    return Session(ROOT, folder, device, folder, 2)


def lines(folder: Path, device: str = "cuda") -> dict[str, Line]:
    return {line.check: line for line in machine._driver(session(folder, device))}


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def write(text: str = SMI, free: str = "81000", apps: str = "", health: str | None = None):
        health = "0, 0, 0x0000000000000001\\n1, [N/A], 0x4\\n" if health is None else health
        gpus = GPUS.format(free=free)
        for name, value in (("gpus", gpus), ("apps", apps), ("health", health)):
            text = text.replace(f"{{{name}}}", value)
        (tmp_path / "nvidia-smi").write_text(text)
        (tmp_path / "nvidia-smi").chmod(0o755)

    return write


def test_healthy_gpus(smi, tmp_path: Path) -> None:
    smi()
    found = lines(tmp_path)
    assert found["driver"].found == "580.65; 2 GPU(s): NVIDIA A100"
    assert found["free memory of GPU 1"].found == "81000 of 81920 MiB, 0 process(es) on all GPUs"
    assert [line.verdict for line in found.values()] == ["ok"] * 4


def test_busy_gpu(smi, tmp_path: Path) -> None:
    smi(free="9000", apps="17\\n18\\n")
    line = lines(tmp_path)["free memory of GPU 0"]
    assert (line.verdict, line.found) == ("note", "9000 of 81920 MiB, 2 process(es) on all GPUs")


def test_part_of_a_gpu_has_no_figures(smi, tmp_path: Path) -> None:
    smi(free="[N/A]")
    assert lines(tmp_path)["free memory of GPU 0"].found == "[N/A] of 81920"


def test_sick_gpus(smi, tmp_path: Path) -> None:
    smi(health="0, 3, 0x1\\n1, 0, 0x0000000000000048\\n")
    line = lines(tmp_path)["health of the GPUs"]
    assert line.verdict == "note"
    assert line.found == (
        "GPU 0: 3 uncorrected memory errors; "
        "GPU 1 is slowed down by heat or power (0x0000000000000048)"
    )


@pytest.mark.parametrize(("device", "verdict"), [("cpu", "skipped"), ("cuda", "note")])
def test_no_nvidia_smi(tmp_path: Path, monkeypatch, device: str, verdict: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (line,) = lines(tmp_path, device).values()
    assert (line.verdict, line.found) == (verdict, "nvidia-smi is not there")


def test_broken_nvidia_smi(smi, tmp_path: Path, monkeypatch) -> None:
    smi("#!/bin/sh\necho 'Driver/library version mismatch'; exit 18\n")
    assert machine.query() == "nvidia-smi failed: Driver/library version mismatch"
    smi("#!/bin/sh\nprintf '\\377, a\\n'\n")
    assert machine.query() == [["\ufffd", "a"]]
    smi("#!/nowhere\n")
    assert machine.query() == "nvidia-smi cannot be run: No such file or directory"
    smi("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(machine, "_QUERY_SECONDS", 0.2)
    assert machine.query() == "nvidia-smi did not answer within 0.2 s"


@pytest.mark.parametrize(("mib", "verdict"), [(64, "failed"), (600, "note"), (9000, "ok")])
def test_shared_memory(tmp_path: Path, monkeypatch, mib: int, verdict: str) -> None:
    free = mib * machine.MIB
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(free, 0, free))
    (line,) = machine._shared_memory(tmp_path)
    assert line.verdict == verdict
    assert line.found.startswith(f"{mib} MiB free, {min(64, mib // 2)} MiB written")
    assert ("--shm-size" in line.found) == (verdict != "ok")


def test_shared_memory_that_cannot_be_written(tmp_path: Path, monkeypatch) -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    (line,) = machine._shared_memory(tmp_path)
    assert line.verdict == "failed" and "No space left on device" in line.found


def test_claims(tmp_path: Path, monkeypatch) -> None:
    (line,) = machine._claims(tmp_path / "runs")
    assert line.verdict == "ok"
    assert not (tmp_path / "runs").exists()

    def unsupported(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    with monkeypatch.context() as patch:
        patch.setattr("os.rename", unsupported)
        (line,) = machine._claims(tmp_path)
    assert line.verdict == "failed" and "cannot be written (Function not implemented)" in line.found
    monkeypatch.setattr(machine, "take", lambda place: claims.Claim(place))
    (line,) = machine._claims(tmp_path)
    assert line.verdict == "failed" and "two claims to one run" in line.found


@pytest.mark.parametrize(
    ("output", "status", "verdict", "found"),
    [
        ("..\n3 passed, 1 skipped in 4.20s\n", 0, "ok", "3 passed, 1 skipped"),
        (
            "FAILED tests/gpu/test_a.py::test_b - assert 1\n1 failed, 2 passed in 1.00s\n",
            1,
            "failed",
            "1 failed, 2 passed; FAILED tests/gpu/test_a.py::test_b - assert 1",
        ),
        ("no tests ran in 0.01s\n", 5, "note", "no test was found"),
        ("2 skipped in 0.10s\n", 0, "note", "2 skipped"),
        ("Segmentation fault\n", 139, "failed", "no result; signal 11 ended it; last line: Segmentation fault"),
    ],
)  # fmt: skip
def test_gpu_tests(tmp_path: Path, output: str, status: int, verdict: str, found: str) -> None:
    from support.fake_machine import ended

    (tmp_path / "tests" / "gpu").mkdir(parents=True)
    one = session(tmp_path)
    one.root, one.execute = tmp_path, lambda *_, **__: ended(status, output)
    (line,) = gpu_tests._tests(one)
    assert (line.verdict, line.found) == (verdict, found)
