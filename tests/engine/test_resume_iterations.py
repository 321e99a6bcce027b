"""The iteration-based loop resumes from a checkpoint without reading earlier samples."""

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from engine.resume import _resume_types
from engine.runner.seeding import SeededDataset

READ = []


class Counting:
    """Ten numbered samples; those that this process reads are noted."""

    metainfo = None

    def __len__(self):
        return 10

    def __getitem__(self, index):
        READ.append(index)
        return torch.tensor(float(index))


class Model(BaseModel):
    """Notes the batches it is trained on."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.batches = []

    def train_step(self, data, optim_wrapper):
        self.batches.append([int(number) for number in data])
        return {"loss": self.weight.detach()}

    def forward(self, *_, **__):
        raise AssertionError("train_step needs no forward here")


def _run(folder, stop_after, workers, resume):
    model = Model()
    runner = Runner(
        model=model,
        work_dir=str(folder),
        train_dataloader=dict(
            dataset=SeededDataset(Counting(), seed=1),
            sampler=dict(type="SeededSampler", seed=1, infinite=True),
            batch_size=3,
            num_workers=workers,
            persistent_workers=workers > 0,
        ),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        train_cfg=dict(type="ResumableIterTrainLoop", max_iters=stop_after, val_interval=100),
        default_hooks=dict(
            checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=5),
            logger=dict(type="LoggerHook", log_metric_by_epoch=False),
        ),
        log_processor=dict(by_epoch=False),
        log_level="ERROR",
        resume=resume,
        load_from=str(folder / "iter_5.pth") if resume else None,
        experiment_name=f"{folder.name}-{resume}-{workers}-{stop_after}",
    )
    runner.train()
    return model.batches


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.filterwarnings("ignore")  # mmengine's own; a resume that fails raises
def test_resumed_loop_continues_with_next_batch(tmp_path, workers):
    whole = _run(tmp_path, 9, 0, resume=False)
    assert [len(batch) for batch in whole] == [3] * 9
    READ.clear()
    with torch.serialization.safe_globals(_resume_types()):
        rest = _run(tmp_path, 9, workers, resume=True)
    assert rest == whole[5:]
    if workers == 0:
        assert len(READ) == 4 * 3
