"""Verdicts on speed and memory, and the command line."""

import argparse

import pytest
import torch

from contract.acceptance import parse_facts, parse_line
from contract.errors import UserError
from engine.acceptance import __main__ as command
from engine.acceptance import memory, speed
from engine.acceptance.in_process import task_by_name
from engine.acceptance.speed import GIB, Speeds, StepBytes, judge, judge_memory
from engine.runner.numerics import NumericsHook


def test_starved_device_names_the_cores():
    line = judge(Speeds(device=2400, fed=1000, core=120, workers=8), "cls, cuda", 8, "cuda")
    assert line.verdict == "note"
    assert line.found == (
        "2400 images/s of one batch, 1000 with 8 loader process(es); a core loads 120 images/s, so 20.0 cores are "
        "needed: the device waits for images with 8 core(s)"
    )
    assert line.numbers["cores needed"] == 20


def test_fed_device():
    line = judge(Speeds(device=2400, fed=2300, core=300, workers=8), "cls, cuda", 8, "cuda")
    assert line.verdict == "ok" and "8.0 cores" in line.found


def test_too_few_workers():
    line = judge(Speeds(device=600, fed=250, core=300, workers=1), "cls, cuda", 8, "cuda")
    assert line.found.endswith("with 8 core(s); a higher number of workers may help")


def test_cpu_loads_its_own_images():
    line = judge(Speeds(device=600, fed=250, core=300, workers=1), "cls, cpu", 2, "cpu")
    assert line.verdict == "ok" and "waits" not in line.found


@pytest.mark.parametrize(("measured", "verdict"), [(9, "ok"), (11, "failed"), (3, "note")])
def test_memory_of_a_step(measured, verdict):
    line = judge_memory(StepBytes(64, 10 * GIB, measured * GIB), "cls")
    assert line.verdict == verdict
    assert line.found == f"{measured}.00 GiB" and "10.00 GiB" in line.expected


@pytest.mark.filterwarnings("ignore")  # mmengine's own, about its file clients
def test_speed_of_a_small_classifier(image_folder, monkeypatch):
    monkeypatch.setattr(speed, "_SECONDS", 0.1)
    applied = []
    monkeypatch.setattr(NumericsHook, "_train", lambda hook: applied.append(hook.numerics))
    words = ["speed", "--data", str(image_folder), "--batch-size", "4", "--workers", "0"]
    parser = argparse.ArgumentParser()
    speed.add_options(parser)
    (line,) = speed.check_speed(parser.parse_args(words[1:]), "cpu")
    assert line.verdict == "ok" and line.check == "speed of cls with resnet10_b-w8, cpu"
    assert all(
        line.numbers[name] > 0 for name in ("images/s without loading", "images/s of a core")
    )
    # The steps have the settings of training, as cuDNN's benchmark mode.
    assert len(applied) == 1


@pytest.mark.parametrize(
    ("recorded", "gauge", "device", "verdict"),
    [
        (1000.0, 1000.0, "cuda", "ok"),
        (970.0, 1000.0, "cuda", "ok"),
        (0.0, 1000.0, "cuda", "failed"),
        (1200.0, 1000.0, "cuda", "failed"),
        (1200.0, 1000.0, "cpu", "ok"),
        (900.0, 1000.0, "cpu", "failed"),
        (None, 1000.0, "cpu", "failed"),
    ],
)
def test_memory(recorded, gauge, device, verdict):
    assert memory.judge(recorded, gauge, device).verdict == verdict


def test_gauge_outlives_resets(monkeypatch):
    current = [0]
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: current[0])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: current.__setitem__(0, 0))
    with memory._allocator_peak() as read:
        current[0] = 20_000 * memory.MIB
        torch.cuda.reset_peak_memory_stats()
        current[0] = 3_000 * memory.MIB
        assert torch.cuda.max_memory_allocated() == 3_000 * memory.MIB
        assert read() == 20_000


@pytest.mark.parametrize("name", ["cls", "det", "seg"])
def test_task_by_name(name):
    assert task_by_name(name).name == name


def test_command_prints_lines_for_the_harness(capsys, monkeypatch):
    def crash(options, device_type):
        raise RuntimeError("no kernel")

    monkeypatch.setitem(command.CHECKS, "ops", crash)
    assert command.main(["device", "--device", "cpu", "--json"]) == 0
    output = capsys.readouterr().out.splitlines()
    facts = [fact for fact in map(parse_facts, output) if fact]
    assert facts[0]["type"] == "cpu" and facts[0]["dtypes"]["fp32"] == "float32"
    assert "fp16" in facts[0]["refusals"]
    assert [line.verdict for line in map(parse_line, output) if line] == ["ok"]
    # One check that crashes does not stop the next.
    assert command.main(["ops", "device", "--device", "cpu"]) == 1
    captured = capsys.readouterr()
    assert "RuntimeError: no kernel" in captured.err and "ok: device" in captured.out


def test_device_that_cannot_be_used(capsys, monkeypatch):
    """One line says why, and the facts are those of the CPU."""

    def refuse(requested):
        raise UserError("1 GPU is present, but torch cannot use it")

    monkeypatch.setattr(command, "resolve_device", refuse)
    assert command.main(["device", "--json"]) == 0
    output = capsys.readouterr().out.splitlines()
    first, second = [line for line in map(parse_line, output) if line]
    assert (first.verdict, first.found) == ("failed", "1 GPU is present, but torch cannot use it")
    assert second.found.startswith("cpu: ")
    assert command.main(["device"]) == 1
