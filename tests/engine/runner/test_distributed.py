"""The process group: its end, and what processes that fail together report."""

import os
import sys
import time

import pytest
import torch
from support.processes import fork_ranks, run_ranks
from torch._subclasses import FakeTensorMode

from contract.errors import UserError
from engine.runner import distributed, rank
from engine.runner.device import device
from engine.runner.distributed import join, leave


def _leave(folder):
    join("cpu")
    mine = torch.distributed.get_rank()
    destroy = torch.distributed.destroy_process_group
    done = []

    def destroyed():
        done.append((folder / "measured").exists())
        destroy()

    torch.distributed.destroy_process_group = destroyed
    if mine == 0:
        time.sleep(0.5)
        (folder / "measured").write_text("")
    leave()
    return done, torch.distributed.is_initialized()


def test_group_ends_after_work_of_rank_0(tmp_path):
    assert run_ranks(_leave, tmp_path, processes=3) == [([True], False)] * 3


@pytest.fixture
def second_of_three(monkeypatch):
    """A process of torchrun on a machine with GPUs; returns what it asks torch for."""
    asked = {}
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setattr(distributed, "_store", None)
    found = (torch.distributed.HashStore(), 1, 3)
    monkeypatch.setattr(distributed, "rendezvous", lambda *_, **__: iter([found]))
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: asked.update(gpu=index))
    monkeypatch.setattr(
        torch.distributed,
        "init_process_group",
        lambda backend, **options: asked.update(backend=backend, size=options["world_size"]),
    )
    return asked


def test_gpu_is_that_of_the_local_rank(monkeypatch, second_of_three):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    join("cuda")
    assert second_of_three == dict(gpu=1, backend="nccl", size=3)


def test_more_processes_than_gpus_are_refused(monkeypatch, second_of_three):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        UserError,
        match=r"3 processes were started on a machine that shows 1 GPU.* --nproc_per_node 1",
    ):
        join("cuda")
    assert not second_of_three


def test_a_process_that_sees_one_gpu_takes_it(monkeypatch, second_of_three):
    """As under srun, which gives each process a GPU of its own."""
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    join("cuda")
    assert second_of_three == dict(gpu=0, backend="nccl", size=3)


def test_gradients_are_exchanged_on_the_gpu_of_the_process(monkeypatch):
    """mmengine names the local rank, which is another GPU, or none, where a process sees one of its own."""
    given = {}
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(
        distributed.MMDistributedDataParallel,
        "__init__",
        lambda self, **given_: given.update(given_),
    )
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = torch.nn.Linear(1, 1, device="cuda")
    distributed.AnyDeviceDistributedDataParallel(
        model, device_ids=[1], find_unused_parameters=False
    )
    assert given["device_ids"] == [0]


def _fail(folder, joined, errors):
    mine = int(os.environ["RANK"])
    sys.stderr = (folder / f"{mine}.txt").open("w")
    rank.JOINED_PATIENCE_SECONDS, rank.PATIENCE_SECONDS = 0.3, 0.3

    def work():
        if joined:
            join("cpu")
        raise errors[mine]

    rank.run_rank(work)


def _reports(folder, joined, *errors):
    statuses = fork_ranks(_fail, folder, joined, errors, processes=len(errors))
    return statuses, [(folder / f"{i}.txt").read_text() for i in range(len(errors))]


def test_mistake_of_all_is_reported_by_rank_0(tmp_path):
    mistake = UserError("no such data")
    found = _reports(tmp_path, True, mistake, mistake, mistake)
    assert found == ([2, 2, 2], ["error (rank 0): no such data\n", "", ""])


def test_bug_keeps_its_traceback(tmp_path):
    statuses, (text,) = _reports(tmp_path, True, KeyError("weight"))
    assert statuses == [1]
    assert text.startswith("error (rank 0):\nTraceback")
    assert text.endswith("KeyError: 'weight'\n")


@pytest.mark.parametrize("joined", [False, True])
def test_interruption_is_reported_once(tmp_path, joined):
    statuses, texts = _reports(tmp_path, joined, KeyboardInterrupt(), KeyboardInterrupt())
    assert statuses == [130, 130]
    assert texts == ["interrupted; run the same command with --resume to go on\n", ""]


def test_others_give_rank_0_time_before_the_group(monkeypatch, capsys):
    """torchrun ends them meanwhile."""
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(os, "_exit", lambda status: waits.append(f"status {status}"))
    monkeypatch.setattr(rank, "_end_loader_workers", lambda: None)
    for number in "01":
        monkeypatch.setenv("RANK", number)
        rank.run_rank(lambda: (_ for _ in ()).throw(UserError("no such data")))
    assert waits == ["status 2", rank.PATIENCE_SECONDS, "status 2"]
    # Nobody ended rank 1, so the mistake is its own.
    assert capsys.readouterr().err.count("no such data") == 2


def test_count_of_devices_includes_all_processes():
    """Each of the two processes computes with one thread."""
    assert run_ranks(lambda: device("cpu")["count"]) == [2, 2]
