"""The choice between resuming a job and starting over in its work dir."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from support.processes import run_ranks

from contract.errors import UserError
from engine.resume import point_at_checkpoint
from engine.runner.batch import HOOK, NONE, PASS
from engine.runner.distributed import join, leave


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


def test_smaller_passes_resume_unless_they_change_statistics(tmp_path):
    def in_passes(size, statistics):
        hook = dict(type=HOOK, size=size, fixed=True, statistics=statistics)
        return Config({**config().to_dict(), "custom_hooks": [hook]})

    for statistics, same in ((NONE, True), (PASS, False)):
        point_at_checkpoint(in_passes(8, statistics), tmp_path, resume=False)
        save(tmp_path / "epoch_2.pth")
        smaller = in_passes(4, statistics)
        with nullcontext() if same else pytest.raises(UserError, match="another config"):
            point_at_checkpoint(smaller, tmp_path, resume=True)
        assert smaller.resume is same


@pytest.mark.parametrize("identity", ["aa", None])
@pytest.mark.parametrize(
    ("now", "difference"),
    [
        (dict(processes=2, precision="float32"), "processes was 1 and is 2;"),
        (dict(processes=1, precision="bfloat16"), "precision was float32 and is bfloat16;"),
        (
            dict(processes=4, precision="float16"),
            "processes was 1 and is 4; precision was float32 and is float16;",
        ),
    ],
)
def test_other_conditions_are_refused(tmp_path, identity, now, difference):
    """The identity of a job includes neither."""
    first = dict(processes=1, precision="float32")
    point_at_checkpoint(config(), tmp_path, resume=False, identity=identity, conditions=first)
    save(tmp_path / "iter_5.pth")
    with pytest.raises(UserError, match=f"under other conditions.*: {difference} .*--work-dir"):
        point_at_checkpoint(config(), tmp_path, resume=True, identity=identity, conditions=now)
    same = config()
    point_at_checkpoint(same, tmp_path, resume=True, identity=identity, conditions=first)
    assert same.resume


def test_job_noted_without_conditions_resumes(tmp_path):
    point_at_checkpoint(config(), tmp_path, resume=False, identity="aa")
    (tmp_path / "job.json").write_text('{"digest": "aa"}')
    save(tmp_path / "iter_5.pth")
    same = config()
    point_at_checkpoint(
        same, tmp_path, resume=True, identity="aa", conditions={"number of processes": 2}
    )
    assert same.resume


def _resume(folders, hidden):
    join("cpu")
    mine, found = get_rank(), config()
    with pytest.MonkeyPatch.context() as patch:
        if mine in hidden:
            patch.setattr(Path, "is_file", lambda _: False)
        try:
            point_at_checkpoint(found, folders[mine], resume=True)
        except UserError as error:
            return str(error)
        finally:
            leave()
    return found.load_from


def test_rank_0_chooses_the_checkpoint(tmp_path):
    """As where a network file system shows a newer file to one machine first."""
    folders = [tmp_path / "0", tmp_path / "1"]
    for rank, folder in enumerate(folders):
        folder.mkdir()
        save(folder / f"epoch_{5 + rank}.pth")
    chosen = str(folders[0] / "epoch_5.pth")
    assert run_ranks(_resume, folders, ()) == [chosen, chosen]
    first, second = run_ranks(_resume, folders, (1,))
    assert first == chosen
    assert second.startswith("the process of rank 1 on ")
    assert f"does not see {chosen}, from which rank 0 resumes; name a --work-dir" in second
