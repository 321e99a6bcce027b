"""Batch statistics of an iteration-based loop in several processes, with averaged weights."""

import warnings

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from support.processes import run_ranks
from torch import nn

from engine.resume import _resume_types
from engine.runner.averaging import EpochEMAHook
from engine.runner.batch_statistics import AgreeingStatisticsHook
from engine.runner.checkpoint import PositionCheckpointHook
from engine.runner.distributed import join, leave
from engine.runner.seeding import SeededDataset


class Numbers:
    """Twelve vectors."""

    metainfo = None

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return torch.randn(3, generator=torch.Generator().manual_seed(index)) * index


class Network(BaseModel):
    """A batch norm, and a constant that no mean may change."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("constant", torch.rand(50, generator=torch.Generator().manual_seed(0)))

    def forward(self, inputs, data_samples=None, mode="tensor"):
        return {"loss": self.norm(torch.stack(inputs)).square().mean()}

    def val_step(self, data):
        return [None]


class Watch(Hook):
    """Keeps what a process has before a checkpoint is written, and what it validates."""

    priority = "LOW"  # after the averaging, before the checkpoint

    def __init__(self):
        self.seen = {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._keep(runner, f"before checkpoint {runner.iter + 1}")

    def after_val_epoch(self, runner, metrics=None):
        self._keep(runner, f"validated {runner.iter}")

    def _keep(self, runner, when):
        (averaging,) = (hook for hook in runner.hooks if isinstance(hook, EpochEMAHook))
        parts = {"raw": runner.model.module, "average": averaging.ema_model.module}
        self.seen[when] = {
            part: {name: value.clone() for name, value in module.state_dict().items()}
            for part, module in parts.items()
        }


def _train(folder):
    warnings.simplefilter("ignore")
    join("cpu")
    watch = Watch()
    loader = dict(batch_size=2, num_workers=0, collate_fn=lambda batch: {"inputs": batch})
    runner = Runner(
        model=Network(),
        work_dir=str(folder),
        launcher="pytorch",
        train_dataloader=dict(
            dataset=SeededDataset(Numbers(), seed=1),
            sampler=dict(type="SeededSampler", seed=1, infinite=True),
            **loader,
        ),
        val_dataloader=dict(
            dataset=SeededDataset(Numbers(), seed=1), sampler=dict(type="DefaultSampler", shuffle=False), **loader
        ),
        val_evaluator=[],
        val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        train_cfg=dict(type="ResumableIterTrainLoop", max_iters=5, val_interval=3),
        default_hooks=dict(
            checkpoint=dict(type=PositionCheckpointHook.__name__, by_epoch=False, interval=2),
            logger=dict(type="LoggerHook", log_metric_by_epoch=False),
        ),
        custom_hooks=[watch, EpochEMAHook(), AgreeingStatisticsHook()],
        cfg=dict(
            model_wrapper_cfg=dict(type="AnyDeviceDistributedDataParallel", broadcast_buffers=False)
        ),
        log_processor=dict(by_epoch=False),
        log_level="ERROR",
        experiment_name=folder.name,
    )  # fmt: skip
    runner.train()
    final = {name: value.clone() for name, value in runner.model.module.state_dict().items()}
    leave()
    return watch.seen, final


STATISTICS = ("norm.running_mean", "norm.running_var")


@pytest.mark.parametrize("processes", [2, 3])
def test_iteration_loop(tmp_path, processes, monkeypatch):
    monkeypatch.setattr("engine.runner.checkpoint_files.KEPT", 9)
    found = run_ranks(_train, tmp_path, processes=processes)
    for iteration in (2, 4):
        with torch.serialization.safe_globals(_resume_types()):
            checkpoint = torch.load(tmp_path / f"iter_{iteration}.pth")
        # The average is in `state_dict`, the weights themselves in `ema_state_dict`.
        raw = {n.removeprefix("module."): v for n, v in checkpoint["ema_state_dict"].items()}
        stored = {"average": checkpoint["state_dict"], "raw": raw}
        for part, name in ((part, name) for part in stored for name in STATISTICS):
            own = [seen[f"before checkpoint {iteration}"][part][name] for seen, _ in found]
            assert not torch.allclose(own[0], own[1])
            mean = torch.stack(own).double().mean(0).float()
            torch.testing.assert_close(stored[part][name], mean, rtol=1e-6, atol=0)
    for part in ("raw", "average"):
        states = [seen["validated 3"][part] for seen, _ in found]
        for name in states[0]:
            assert all(torch.equal(states[0][name], state[name]) for state in states), name
    for _, final in found:
        assert torch.equal(final["constant"], Network().constant), "a mean changed a constant"
        assert int(final["norm.num_batches_tracked"]) == 5
