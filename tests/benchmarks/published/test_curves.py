"""Published curves, and the warning about a training that falls behind them."""

from __future__ import annotations

import pytest
from support.world import ROWS, World, make_suite

from benchmarks.published import curves
from benchmarks.published.curves import Training, warning, warnings

COSINE = ("cosine", "label_smoothing")


FAMILY = [f"gluoncv-resnet50_v1{tweak}" for tweak in ("", "b", "c", "d")] + ["paper-fig3-cosine"]


def training(backbone="resnet50_d", tricks=COSINE, epochs=120, **data):
    return Training(backbone, tricks, epochs, **{"classes": 1000, "test_images": 50_000, **data})


def points(name, change=lambda value: value):
    return [(epoch + 1, change(value)) for epoch, value in curves.curves()[name].items()]


@pytest.mark.parametrize("left_out", FAMILY)
def test_published_curves_do_not_warn(monkeypatch, left_out):
    own = points(left_out)
    others = {name: curve for name, curve in curves.curves().items() if name != left_out}
    monkeypatch.setattr(curves, "curves", lambda: {**others, left_out: {}})
    assert warnings(training(), own) == []


@pytest.mark.parametrize(
    ("wrong", "change"),
    [
        ("labels shuffled: chance", lambda value: 0.1),
        ("a third of it", lambda value: value / 3),
        ("not finite", lambda value: 0.0),
    ],
)
def test_diverging_training_warns_after_warm_up(wrong, change):
    found = warnings(training(), points("gluoncv-resnet50_v1d", change))
    assert "after epoch 6," in found[0], wrong
    assert "look at the data, the learning rate" in found[0]


def test_stalled_training_warns_later():
    assert warning(training(), 60, 61.0) is None
    assert "top-1 is at best 54.0 after epoch 60" in warning(training(), 60, 54.0)


def test_no_reference_no_warning():
    for other in (
        training(classes=100),
        training(test_images=10_000),
        training(epochs=90),
        training(backbone="resnet18_d"),
        training(tricks=("polynomial",)),
    ):
        assert warning(other, 30, 0.1) is None
    # The warm-up, and a step schedule beside the paper's only curve of one.
    assert warning(training(), 5, 0.1) is None
    assert "paper-fig3-step" in warning(training(tricks=()), 30, 30.0)


def test_harness_warns_of_running_classifier(tmp_path, monkeypatch):
    world = World(tmp_path, behaviour={"standard/cls": "slow-learner"})
    monkeypatch.setattr(curves, "_REFERENCES", ((r".*", "step", 120, ("paper-fig3-step",)),))
    world.run()
    (warned,) = [line for line in world.display.lines if "warning" in line]
    assert warned.startswith("standard · cls · seed 0: warning: top-1 is at best 3.0 after epoch 6")
    slower = tuple(row.with_task("cls", lr=0.3) for row in ROWS)
    world = World(tmp_path / "2", make_suite(slower), behaviour={"standard/cls": "slow-learner"})
    world.run()
    assert not [line for line in world.display.lines if "warning" in line]
