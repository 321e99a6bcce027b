"""The peak memory of a training, although mmengine resets torch's gauge whenever it logs."""

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from support.runners import bare_runner
from torch import nn

from engine.resume import _resume_types
from engine.runner import peak_memory as module
from engine.runner.peak_memory import PeakMemoryHook, peak_memory

MIB = 2**20
STEP, BATCH = 20_000, 3_000


class Gauge:
    """torch's gauge of a GPU: the largest amount since the last reset."""

    def __init__(self, monkeypatch):
        self.peak, self.resets = 0, 0
        monkeypatch.setattr(module, "_on_gpu", lambda: True)
        monkeypatch.setattr("mmengine.runner.log_processor.is_cuda_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_, **__: self.peak * MIB)
        monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda *_, **__: 2 * self.peak * MIB)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda *_, **__: self.reset())

    def use(self, mib):
        self.peak = max(self.peak, mib)

    def reset(self):
        self.peak, self.resets = 0, self.resets + 1


class Model(BaseModel):
    """Needs much memory in training and little in validation."""

    def __init__(self, gauge, step):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.gauge, self.step, self.steps = gauge, step, 0

    def train_step(self, data, optim_wrapper):
        self.steps += 1
        # The peak is in one of the steps that are logged.
        self.gauge.use(self.step if self.steps == 100 else 0)
        return {"loss": self.weight.detach()}

    def val_step(self, data):
        self.gauge.use(BATCH)
        return [None]

    def forward(self, *_, **__):
        raise AssertionError


class NoMetric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return {}


def _run(folder, gauge, steps, step=STEP, resume=None):
    def loader(samples):
        return dict(
            dataset=[torch.zeros(())] * samples,
            sampler=dict(type="DefaultSampler", shuffle=False),
            batch_size=1,
        )

    runner = Runner(
        model=Model(gauge, step),
        work_dir=str(folder),
        train_dataloader=loader(steps),
        val_dataloader=loader(100),
        val_cfg=dict(),
        val_evaluator=dict(type=NoMetric),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        train_cfg=dict(by_epoch=True, max_epochs=1 if resume is None else 2, val_interval=1),
        default_hooks=dict(logger=dict(type="LoggerHook", interval=50)),
        log_level="ERROR",
        resume=resume is not None,
        load_from=resume,
        experiment_name=f"{folder.name}-{step}",
    )
    runner.register_hook(PeakMemoryHook())
    runner.train()
    return runner


@pytest.mark.filterwarnings("ignore")  # mmengine's own
def test_peak_is_that_of_all_steps_and_parts(tmp_path, monkeypatch):
    gauge = Gauge(monkeypatch)
    found = peak_memory(_run(tmp_path, gauge, 500))
    assert gauge.resets > 10
    assert gauge.peak < STEP
    assert found == {"peak_memory_mib": STEP, "peak_reserved_mib": 2 * STEP}
    gauge.reset()
    # A resumed part that needs less does not lower it.
    with torch.serialization.safe_globals(_resume_types()):
        resumed = _run(tmp_path, gauge, 500, step=7, resume=str(tmp_path / "epoch_1.pth"))
    assert resumed.epoch == 2
    assert gauge.peak <= BATCH
    assert peak_memory(resumed) == found


def test_largest_of_all_processes(request, monkeypatch):
    def of_two(tensor, operation):
        assert operation == "max"
        tensor.fill_(max(tensor.item(), 500.0))

    monkeypatch.setattr(module, "all_reduce", of_two)
    gauge, runner = Gauge(monkeypatch), bare_runner(request.node.name)
    gauge.use(300)
    PeakMemoryHook().after_train(runner)
    assert peak_memory(runner) == {"peak_memory_mib": 500.0, "peak_reserved_mib": 600.0}


def test_resumed_part_on_cpu_keeps_larger_peak(request, monkeypatch):
    monkeypatch.setattr(module, "_on_gpu", lambda: False)
    monkeypatch.setattr(module, "peak_memory_mib", lambda device_type: 200.0)
    runner = bare_runner(request.node.name)
    runner.message_hub.update_info("peak_memory_mib", 900.0)
    PeakMemoryHook().after_train(runner)
    assert peak_memory(runner) == {"peak_memory_mib": 900.0, "peak_reserved_mib": None}
