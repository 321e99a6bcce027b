"""The work dir of a finished run."""

import json

import pytest
import torch
from mmengine.config import Config

from contract.errors import UserError
from export.onnx.run import parse_config, read

CONFIG = Config(
    dict(
        model=dict(type="Net", scale=(1333, -1), rates=[0.1, 1e-5], neck=None, on=True),
        rules={".conv_offset.": dict(lr_mult=0.1), "a": ("it's", "")},
        empty=dict(),
    ),
    format_python_code=False,
)


@pytest.fixture
def work_dir(tmp_path):
    """What a detection run of 20 iterations leaves, except the network."""
    meta = {"iter": 20, "cfg": CONFIG.pretty_text, "dataset_meta": {"classes": ("cat", "dog")}}
    torch.save({"meta": meta, "state_dict": {"a": torch.ones(2)}}, tmp_path / "iter_20.pth")
    (tmp_path / "result.json").write_text(json.dumps({"stage": "det", "status": "completed"}))
    (tmp_path / "curves.json").write_text(json.dumps({"val": [{"step": 10}, {"step": 20}]}))
    return tmp_path


def test_config_comes_from_checkpoint():
    parsed = parse_config(CONFIG.pretty_text, "iter_20.pth")
    executed = Config.fromstring(CONFIG.pretty_text, ".py")
    assert parsed._cfg_dict.to_dict() == executed._cfg_dict.to_dict()
    assert parsed.rules[".conv_offset."].lr_mult == 0.1


@pytest.mark.parametrize(
    "text",
    [
        "a = print('run')",
        "a = __import__('os').getcwd()",
        "import os",
        "a = dict(**{'b': 1})",
        "a = [x for x in (1, 2)]",
        "a.b = 1",
        "a = (",
    ],
)
def test_code_in_config_is_not_run(text, capsys):
    with pytest.raises(UserError, match=r"the config in iter_20.pth is not plain data"):
        parse_config(text, "iter_20.pth")
    assert capsys.readouterr().out == ""


def test_reads_evaluated_checkpoint(work_dir):
    run = read(work_dir, "det")
    assert run.classes == ("cat", "dog")
    assert run.checkpoint == work_dir / "iter_20.pth"
    assert run.state["a"].tolist() == [1, 1]
    assert run.config.model.scale == (1333, -1)


def test_unevaluated_checkpoint_is_refused(work_dir):
    (work_dir / "curves.json").write_text(json.dumps({"val": [{"step": 25}]}))
    with pytest.raises(UserError, match=r"is of iteration 20, and the result .* of iteration 25"):
        read(work_dir, "det")


def test_other_folders_are_refused(work_dir, tmp_path):
    with pytest.raises(UserError, match=r"a run of the task det, not seg; use python -m det.exp"):
        read(work_dir, "seg")
    with pytest.raises(UserError, match=r"not the work dir of a finished run"):
        read(tmp_path / "nowhere", "det")
    checkpoint = work_dir / "iter_20.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"holds no whole checkpoint"):
        read(work_dir, "det")
