"""The checks of `python -m engine.acceptance` that ask a GPU."""

import argparse

import pytest
from support.places import on, placed

from engine.acceptance import memory, speed
from engine.acceptance.device import check_device


@pytest.fixture
def options(image_folder, tiny_config):
    parser = argparse.ArgumentParser()
    speed.add_options(parser)
    words = ["--data", str(image_folder), "--config", str(tiny_config), "--batch-size", "4"]
    return parser.parse_args([*words, "--workers", "0"])


@pytest.mark.parametrize("place", [on("pretended"), on("cuda")])
def test_device(place):
    with placed(place) as device:
        lines = list(check_device(device))
    assert [line.check for line in lines[:3]] == [
        "device",
        "architecture of GPU 0",
        "convolution and product on GPU 0",
    ]
    assert {line.verdict for line in lines} == {"ok"}


@pytest.mark.parametrize("place", [on("cpu"), on("pretended"), on("cuda")])
def test_memory(place, options):
    with placed(place) as device:
        (line,) = memory.check_memory(options, device)
    assert line.verdict == "ok", line


@pytest.mark.parametrize("place", [on("pretended"), on("cuda")])
def test_speed(place, options, monkeypatch):
    monkeypatch.setattr(speed, "_SECONDS", 0.1)
    with placed(place) as device:
        rate, step = speed.check_speed(options, device)
    assert rate.verdict in ("ok", "note") and rate.numbers["images/s without loading"] > 0
    # The memory of a pretended GPU is a constant, far below the estimate.
    assert step.check.startswith("memory of a step of 4 images") and step.verdict != "failed"
