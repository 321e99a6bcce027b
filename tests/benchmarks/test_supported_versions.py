"""The pins, the ranges of pyproject.toml and the table of docs/install.md agree."""

from __future__ import annotations

import re
import sys

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from benchmarks.suite.names import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIRED = {need.name.lower(): need for need in map(Requirement, PROJECT["dependencies"])}


def pins(name: str) -> list[Requirement]:
    lines = (ROOT / "benchmarks" / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def version(pin: Requirement) -> str:
    return str(pin.specifier).removeprefix("==")


def test_pins_are_in_the_ranges():
    found = [*pins("constraints.txt"), *pins("constraints-torch.txt")]
    wanted = [pin for pin in found if pin.name.lower() in REQUIRED]
    assert {pin.name for pin in wanted} >= {"torch", "torchvision", "numpy", "timm"}
    assert not [pin for pin in wanted if version(pin) not in REQUIRED[pin.name.lower()].specifier]


def test_another_torch_meets_no_pin_of_its_own():
    # torch 2.6 asks for another sympy than torch 2.14, so that both pins stand in the same file.
    free = {pin.name for pin in pins("constraints.txt")}
    assert not free & {"torch", "torchvision", "sympy", "triton"}


@pytest.mark.parametrize("column", [0, 1], ids=["torch", "torchvision"])
def test_range_is_what_was_run(column):
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (2\.\S+) \| (\S+) \|.*\| (.+) \|$", text, flags=re.MULTILINE)
    specifier = REQUIRED[("torch", "torchvision")[column]].specifier
    run = {row[column] for row in rows if not row[2].startswith("fails")}
    assert len(run) >= 8
    assert run == {row[column] for row in rows if row[column] in specifier}
    bounds = {bound.operator: Version(bound.version) for bound in specifier}
    tried = sorted(map(Version, run))
    assert tried[0].release[:2] == bounds[">="].release[:2]
    assert tried[-1].minor + 1 == bounds["<"].minor
