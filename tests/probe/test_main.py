"""The command `python -m probe`, its former name, and the former paths of its configs."""

import runpy
import sys

import pytest
from mmengine.config import Config

from contract.settings import ROOT
from contract.tasks import TASKS


@pytest.mark.parametrize("module", ["probe", "cls_train.probe"])
def test_both_names_run_it(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert left.value.code == 0
    assert "python -m probe" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["imagenet", "mini"])
def test_former_config_path(name):
    own = Config.fromfile(ROOT / TASKS["probe"].configs / f"{name}.py")
    assert (
        Config.fromfile(ROOT / "cls_train/configs/probe" / f"{name}.py")._cfg_dict == own._cfg_dict
    )
