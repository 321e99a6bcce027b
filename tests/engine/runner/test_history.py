"""Histories whose cost does not grow."""

import io

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from support.runners import bare_runner

from engine.resume import _resume_types
from engine.runner import history
from engine.runner.history import BoundedHistory, BoundedHistoryHook


@pytest.fixture
def short(monkeypatch):
    """Histories of at most 32 entries, of which the latest 8 stay single."""
    monkeypatch.setattr(history, "MOST_GROUPS", 16)
    monkeypatch.setattr(history, "LATEST", 8)


def _hub(name):
    runner = bare_runner(name)
    BoundedHistoryHook().before_run(runner)
    return runner.message_hub


def test_copied_elements_of_an_update_do_not_grow(request, short, monkeypatch):
    # Each element that numpy appends is copied; so is each that a shortened buffer moves.
    copied = []
    append, shorten = np.append, BoundedHistory._shorten
    monkeypatch.setattr(np, "append", lambda a, b: copied.append(len(a)) or append(a, b))
    monkeypatch.setattr(
        BoundedHistory, "_shorten", lambda self: copied.append(self._used) or shorten(self)
    )
    hub = _hub(request.node.name)
    costs = []
    for _ in range(10):
        copied.clear()
        for step in range(500):
            hub.update_scalar("train/loss", float(step))
        costs.append(sum(copied))
    assert 0 < max(costs) < 500 * 5
    assert max(costs[5:]) <= 1.5 * max(costs[:5])
    assert len(hub.get_scalar("train/loss").data[0]) <= 32


def test_few_values_are_kept_as_mmengine_keeps_them(request):
    stock, hub = HistoryBuffer(), _hub(request.node.name)
    for value in np.random.default_rng(1).random(300):
        stock.update(float(value))
        hub.update_scalar("train/loss", float(value))
    found = hub.get_scalar("train/loss")
    for ours, theirs in zip(found.data, stock.data, strict=True):
        assert np.array_equal(ours, theirs)
    assert found.mean(50) == stock.mean(50) and found.current() == stock.current()
    assert found.min(7) == stock.min(7) and found.max() == stock.max()


def test_groups_keep_sums_positions_and_the_latest_values(request, short):
    hub = _hub(request.node.name)
    for step in range(1000):
        hub.update_scalar("train/loss", float(step))
        values, counts = hub.get_scalar("train/loss").data
        assert counts.sum() == step + 1
        assert values.sum() == step * (step + 1) / 2
        ends = np.cumsum(counts)
        # A group of the steps a..b, whose sum is known in closed form.
        assert np.array_equal(values, (ends - 1 + ends - counts) / 2 * counts)
        assert list(values[-8:]) == [float(s) for s in range(max(0, step - 7), step + 1)]
        assert (np.diff(counts) <= 0).all()


def test_checkpoint_has_the_stock_type_and_resumes_exactly(request, short):
    hub, resumed = _hub(request.node.name), _hub(request.node.name + "-resumed")
    for step in range(333):
        hub.update_scalar("train/loss", float(step))
    file = io.BytesIO()
    torch.save(hub.state_dict(), file)
    assert type(hub.state_dict()["log_scalars"]["train/loss"]) is HistoryBuffer
    file.seek(0)
    with torch.serialization.safe_globals(_resume_types()):
        resumed.load_state_dict(torch.load(file, weights_only=True))
    for step in range(333, 600):
        for each in (hub, resumed):
            each.update_scalar("train/loss", float(step))
    ours, theirs = (each.get_scalar("train/loss").data for each in (hub, resumed))
    assert all(map(np.array_equal, ours, theirs))


def test_long_history_of_an_older_checkpoint_is_shortened(request, short):
    old = MessageHub(request.node.name + "-old")
    old.log_scalars["train/loss"] = HistoryBuffer(list(range(100)), [1] * 100)
    hub = _hub(request.node.name)
    hub.load_state_dict(old.state_dict() | {"log_scalars": old.log_scalars})
    values, counts = hub.get_scalar("train/loss").data
    assert len(values) <= 32 and counts.sum() == 100 and values.sum() == 4950
