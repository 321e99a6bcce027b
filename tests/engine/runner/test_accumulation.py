"""Steps in micro-batches against the same steps on the whole batch."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from support.processes import run_ranks
from torch import nn

from contract import progress
from contract.errors import UserError
from engine.measure.memory import GIB, StepMemory
from engine.runner import accumulation
from engine.runner.accumulation import DeviceBatchHook, halves
from engine.runner.batch import NONE, PASS
from engine.runner.distributed import join, leave


class Model(BaseModel):
    """A line through the data; its loss is a mean over images, as detectors' and segmentors' are."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(3, 1, dtype=torch.float64)
        self.sizes, self.silent = [], 0

    def no_sync(self):
        self.silent += 1
        return torch.enable_grad()

    def forward(self, inputs, data_samples, mode):
        self.sizes.append(len(inputs))
        error = self.line(torch.stack(inputs)).squeeze(1) - torch.tensor(data_samples)
        return {"loss_square": error.square().mean()}


def _runner(model, **kept):
    """A runner whose checkpoint, if it was resumed, keeps some values."""
    kept = dict(kept)
    hub = SimpleNamespace(runtime_info=kept, update_info=kept.__setitem__)
    return SimpleNamespace(model=model, message_hub=hub)


def _trained(size, steps=3):
    torch.manual_seed(4)
    model = Model()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    if size is not None:
        DeviceBatchHook(size, share=5).before_train(_runner(model))
    logs = []
    for _ in range(steps):
        data = {
            "inputs": list(torch.randn(5, 3, dtype=torch.float64)),
            "data_samples": torch.randn(5, dtype=torch.float64).tolist(),
        }
        logs.append(model.train_step(data, optim_wrapper=wrapper))
    return model, logs


def test_micro_batches_match_whole_batch():
    whole, expected = _trained(None)
    parts, logs = _trained(2)
    assert whole.sizes == [5] * 3
    assert parts.sizes == [2, 2, 1] * 3
    torch.testing.assert_close(parts.line.weight, whole.line.weight, rtol=1e-12, atol=0)
    for found, wanted in zip(logs, expected, strict=True):
        assert found.keys() == wanted.keys() == {"loss", "loss_square"}
        torch.testing.assert_close(found["loss"], wanted["loss"], rtol=1e-12, atol=0)
    # Several processes would exchange gradients once a step.
    assert parts.silent == 6


class Normalised(BaseModel):
    """A batch norm of two channels."""

    def __init__(self, momentum):
        super().__init__()
        self.norm = nn.BatchNorm1d(2, momentum=momentum, dtype=torch.float64)

    def forward(self, inputs, data_samples, mode):
        return {"loss": self.norm(torch.stack(inputs)).square().mean()}


@pytest.mark.parametrize("momentum", [0.1, 0.3])
def test_running_statistics_take_a_step_once(momentum):
    """After a step of passes with 4, 4 and 2 images, they are (1 − m) s + m Σ wᵢ bᵢ."""
    torch.manual_seed(5)
    model = Normalised(momentum)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0))
    hook = DeviceBatchHook(4, share=10, statistics=PASS, published=4)
    hook.before_train(_runner(model))
    mean = torch.zeros(2, dtype=torch.float64)
    variance = torch.ones(2, dtype=torch.float64)
    for _ in range(3):
        images = torch.randn(10, 2, dtype=torch.float64) * 3 + 1
        passes = images.split(4)
        mean = (1 - momentum) * mean + momentum * sum(0.1 * len(p) * p.mean(0) for p in passes)
        variance = (1 - momentum) * variance + momentum * sum(
            0.1 * len(p) * p.var(0, correction=1) for p in passes
        )
        data = {"inputs": list(images), "data_samples": [0] * 10}
        model.train_step(data, optim_wrapper=wrapper)
        assert model.norm.momentum == momentum
    torch.testing.assert_close(model.norm.running_mean, mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(model.norm.running_var, variance, rtol=1e-12, atol=0)


def test_cumulative_statistics_stay_cumulative():
    model = Normalised(None)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0))
    DeviceBatchHook(2, share=4).before_train(_runner(model))
    data = {"inputs": list(torch.randn(4, 2, dtype=torch.float64)), "data_samples": [0] * 4}
    model.train_step(data, optim_wrapper=wrapper)
    expected = torch.stack(data["inputs"]).mean(0)
    torch.testing.assert_close(model.norm.running_mean, expected, rtol=1e-12, atol=0)


def test_halves_end_with_one_image():
    assert list(halves(20)) == [20, 10, 5, 3, 2, 1]


@pytest.fixture
def free(monkeypatch):
    """A device with 4 GiB free."""
    monkeypatch.setattr(accumulation, "free_bytes", lambda: 4 * GIB)


def _chosen(hook, gib_per_image):
    """Return the size that a hook chooses if each image needs so many GiB."""
    model = Model()
    # Exactly, without the margin that `StepMemory.of` adds.
    memory = SimpleNamespace(of=lambda images: images * gib_per_image * GIB)
    hook.estimate = lambda runner: memory
    found = []
    hook.chosen = found.append
    hook.before_train(_runner(model))
    assert found == [hook.size]
    return hook.size


@pytest.mark.parametrize(
    ("statistics", "gib", "size"),
    [
        # Nothing depends on the size: the largest that fits, up to the whole step.
        (NONE, 0.1, 16),
        (NONE, 0.3, 8),
        (NONE, 3.0, 1),
        # Statistics do: never more than published, fewer only if memory demands it.
        (PASS, 0.1, 8),
        (PASS, 0.9, 4),
    ],
)
def test_size_is_chosen_from_free_memory(free, capsys, statistics, gib, size):
    published = None if statistics == NONE else 8
    hook = DeviceBatchHook(8, share=16, statistics=statistics, published=published)
    assert _chosen(hook, gib) == size
    noted = capsys.readouterr().out
    if statistics == PASS and size < 8:
        assert "note: 8 images of a pass need about 7.2 GiB of device memory, and 4.0 GiB" in noted
    else:
        assert not noted


@pytest.mark.parametrize(
    ("statistics", "size"),
    [
        # Less memory is free than before the interruption; trained statistics stay those of 8 images.
        (PASS, 8),
        (NONE, 2),
    ],
)
def test_resumed_run_keeps_trained_statistics(free, statistics, size):
    hook = DeviceBatchHook(16, share=16, statistics=statistics, published=16)
    hook.estimate = lambda runner: SimpleNamespace(of=lambda images: images * 2 * GIB)
    hook.before_train(_runner(Model(), device_batch_size=8))
    assert hook.size == size


def test_size_of_the_config_is_kept(free):
    assert _chosen(DeviceBatchHook(8, share=16, fixed=True), 3.0) == 8


def test_step_that_cannot_fit_is_refused(free):
    with pytest.raises(
        UserError,
        match=r"one image needs about 5.0 GiB of device memory, and 4.0.*device_batch_size=1 tries",
    ):
        _chosen(DeviceBatchHook(8, share=16), 5.0)


def test_planned_numbers_are_not_changed_silently(free, monkeypatch, capsys):
    """Under an identity, the harness learns which size fits; by hand, the message names the key."""
    monkeypatch.setenv(progress.VARIABLE, "1")
    hook = DeviceBatchHook(8, share=16, statistics=PASS, published=8, keep_numbers=True)
    with pytest.raises(UserError, match="set device_batch_size=4 for smaller passes of the same"):
        _chosen(hook, 0.9)
    report = progress.parse(capsys.readouterr().out.encode())
    assert report == {"device_batch_size": 4, "changes_numbers": True}


def test_unknown_memory_is_noted(free, capsys):
    def fail(runner):
        raise ValueError("no shapes")

    hook = DeviceBatchHook(2, share=4)
    hook.estimate = fail
    hook.before_train(_runner(Model()))
    assert hook.size == 2
    assert "the memory of a step is unknown (ValueError: no shapes)" in capsys.readouterr().out


def _choose_by_rank():
    join("cpu")
    rank = torch.distributed.get_rank()
    accumulation.free_bytes = lambda: (4, 1, 4)[rank] * GIB
    hook = DeviceBatchHook(8, share=16)
    memory = SimpleNamespace(of=lambda images: 0.3 * images * GIB)
    hook.estimate = lambda runner: memory if rank < 2 else 1 / 0
    hook.before_train(_runner(Model()))
    leave()
    return hook.size


def test_least_free_memory_of_the_processes_counts():
    """It is exchanged before the estimate, which may fail on one process alone: the others would wait for it."""
    assert run_ranks(_choose_by_rank, processes=3) == [2, 2, 8]


@pytest.mark.parametrize(
    ("size", "words", "half"),
    [
        (2, "in a pass of 2 images .* set device_batch_size=1 for smaller passes", 1),
        (5, "in a pass of 5 images .* set device_batch_size=3 for smaller passes", 3),
        (1, "in a pass of 1 images .* take a smaller network", None),
    ],
)
def test_out_of_memory_names_the_key(monkeypatch, capsys, size, words, half):
    monkeypatch.setenv(progress.VARIABLE, "1")
    model = Model()

    def forward(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(model, "forward", forward)
    DeviceBatchHook(size, share=5).before_train(_runner(model))
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    data = {"inputs": list(torch.randn(5, 3)), "data_samples": [0.0] * 5}
    with pytest.raises(UserError, match=words):
        model.train_step(data, optim_wrapper=wrapper)
    report = progress.parse(capsys.readouterr().out.encode())
    wanted = None if half is None else {"device_batch_size": half, "changes_numbers": False}
    assert report == wanted


def test_margin_covers_workspaces():
    memory = StepMemory(fixed=1 * GIB, per_image=0.5 * GIB, transient=0.1 * GIB)
    assert memory.of(10) == pytest.approx(1.15 * 7 * GIB + 512 * 2**20)
