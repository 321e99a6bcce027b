"""The scripts run under the package's name, without their folder."""

import importlib.util
import runpy
import sys

import pytest


@pytest.mark.parametrize("name", ["speed", "tricks", "evaluation", "faulty_weights"])
def test_package_runs_each_script(name):
    found = importlib.util.find_spec(f"benchmarks.{name}")
    assert found.origin.endswith(f"benchmarks/scripts/{name}.py")


def test_former_name_of_figures(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["figures", "--help"])
    # runpy warns of a module that is imported already.
    monkeypatch.delitem(sys.modules, "benchmarks.scripts.figures.__main__", raising=False)
    with pytest.raises(SystemExit) as left:
        runpy.run_module("cls_train.figures", run_name="__main__", alter_sys=True)
    assert left.value.code == 0
    assert "tricks_sheet" in capsys.readouterr().out


def test_former_name_of_miniworld(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["miniworld", "--help"])
    monkeypatch.delitem(sys.modules, "datasets.miniworld.__main__", raising=False)
    with pytest.raises(SystemExit) as left:
        runpy.run_module("benchmarks.datasets.miniworld", run_name="__main__", alter_sys=True)
    assert left.value.code == 0
    assert "--preset" in capsys.readouterr().out
