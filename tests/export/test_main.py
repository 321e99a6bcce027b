"""`python -m export`, and the commands of the packages that lead to it."""

import json
import runpy
import sys

import pytest

from contract.tasks import TASKS
from export.__main__ import main


@pytest.mark.parametrize("command", ["onnx", "weights"])
def test_each_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert f"python -m export {command}" in capsys.readouterr().out


def test_unknown_command(capsys):
    with pytest.raises(SystemExit) as left:
        main(["onx"])
    assert left.value.code == 2
    assert "invalid choice: 'onx'" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["cls_train", "det", "seg"])
def test_task_commands_redirect(package, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{package}.export", "--help"])
    task = next(t.name for t in TASKS.values() if t.module.startswith(f"{package}."))
    # runpy warns of a module that is imported already.
    monkeypatch.delitem(sys.modules, f"export.onnx.{task}", raising=False)
    with pytest.raises(SystemExit) as left:
        runpy.run_module(f"{package}.export", run_name="__main__", alter_sys=True)
    assert left.value.code == 0
    assert f"work dir of a finished {task} run" in capsys.readouterr().out


def test_run_without_trained_network(tmp_path, capsys):
    (tmp_path / "result.json").write_text(json.dumps({"stage": "probe"}))
    assert main(["onnx", str(tmp_path), "--out", str(tmp_path / "x.onnx")]) == 2
    assert "is a run of the task probe, which trains no network" in capsys.readouterr().err
    assert main(["onnx", str(tmp_path / "none"), "--out", str(tmp_path / "x.onnx")]) == 2
    assert "is not the work dir of a finished run" in capsys.readouterr().err
