"""The choice between resuming a job and starting over in its work dir."""

import json

import pytest
import torch
from mmengine.config import Config

from contract.errors import UserError
from engine.resume import point_at_checkpoint


def config(lr=0.1):
    return Config({"optim_wrapper": {"optimizer": {"lr": lr}}, "work_dir": "a", "resume": False})


def save(path):
    torch.save({"meta": {}}, path)


def test_same_job_resumes_and_other_is_refused(tmp_path):
    point_at_checkpoint(config(), tmp_path, resume=False)
    save(tmp_path / "epoch_2.pth")
    same = config()
    point_at_checkpoint(same, tmp_path, resume=True)
    assert same.resume and same.load_from == str(tmp_path / "epoch_2.pth")
    with pytest.raises(UserError, match=r"checkpoints of a job with another config .*--work-dir"):
        point_at_checkpoint(config(lr=0.2), tmp_path, resume=True)
    assert (tmp_path / "epoch_2.pth").exists()


def test_identity_replaces_config_digest(tmp_path):
    point_at_checkpoint(config(), tmp_path, resume=False, identity="aa")
    save(tmp_path / "iter_5.pth")
    moved = config(lr=0.2)
    point_at_checkpoint(moved, tmp_path, resume=True, identity="aa")
    assert moved.resume
    with pytest.raises(UserError):
        point_at_checkpoint(moved, tmp_path, resume=True, identity="bb")


def test_fresh_start_moves_old_checkpoints(tmp_path):
    save(tmp_path / "epoch_9.pth")
    fresh = config()
    point_at_checkpoint(fresh, tmp_path, resume=False)
    assert not fresh.resume and fresh.load_from is None
    assert [p.name for p in tmp_path.glob("earlier-*/*")] == ["epoch_9.pth"]
    later = config()
    point_at_checkpoint(later, tmp_path, resume=True)
    assert not later.resume, "the old job's checkpoint was taken for this job's"
    assert json.loads((tmp_path / "job.json").read_text())["digest"]
