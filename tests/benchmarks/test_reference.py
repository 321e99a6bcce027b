"""Published figures and curves, and what is said of a run that leaves them."""

import statistics

import pytest
from fake_run import edit_json, write_run
from scipy import stats
from support.world import ROWS, World, make_suite

from benchmarks.cli import main
from benchmarks.reference import curves, figures
from benchmarks.reference.curves import Training, warning, warnings
from benchmarks.reference.figures import compare, curve_warnings, prediction_band, published
from benchmarks.results import read_run

COSINE = ("cosine", "label_smoothing")
FAMILY = [f"gluoncv-resnet50_v1{tweak}" for tweak in ("", "b", "c", "d")] + ["paper-fig3-cosine"]


def training(backbone="resnet50_d", tricks=COSINE, epochs=120, **data):
    return Training(backbone, tricks, epochs, **{"classes": 1000, "test_images": 50_000, **data})


def points(name, change=lambda value: value):
    return [(epoch + 1, change(value)) for epoch, value in curves.curves()[name].items()]


@pytest.mark.parametrize("left_out", FAMILY)
def test_no_published_training_is_called_wrong_by_the_others(monkeypatch, left_out):
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
def test_a_training_that_goes_wrong_is_told_after_the_warm_up(wrong, change):
    found = warnings(training(), points("gluoncv-resnet50_v1d", change))
    assert "after epoch 6," in found[0], wrong
    assert "look at the data, the learning rate" in found[0]


def test_a_training_that_stops_learning_later_is_told_later():
    assert warning(training(), 60, 61.0) is None
    assert "top-1 is at best 54.0 after epoch 60" in warning(training(), 60, 54.0)


def test_what_has_no_reference_is_left_alone():
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


def test_the_prediction_band_covers_one_more_run():
    generator = statistics.NormalDist(80, 0.5)
    inside = 0
    for seed in range(400):
        *known, one_more = generator.samples(5, seed=seed)
        low, high = prediction_band(known)
        inside += low <= one_more <= high
    assert inside / 400 == pytest.approx(0.95, abs=0.03)
    # mmdetection#2773: 80.135 ± 3.182 · 0.505 · √1.25
    low, high = prediction_band([80.86, 79.74, 79.85, 80.09])
    assert (low + high) / 2 == pytest.approx(80.135)
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, 3) * 0.50494 * 1.25**0.5, rel=1e-3)


def test_every_figure_is_inside_its_own_band():
    for figure in published():
        low, high = figure.band
        assert low <= statistics.mean(figure.values) <= high
        assert figure.source and figure.test_images > 0
        if len(figure.values) > 1:
            assert all(low <= value <= high for value in figure.values)


def _mini(folder, top1):
    """A fake run whose row `standard` has the protocol of the embedded suite's own figures."""
    run = write_run(folder)

    def suit(plan):
        plan["stages"]["cls"]["config"] = "cls_train/configs/mini.py"
        plan["rows"][1]["backbone"] = "resnet10_b-w24"

    def score(result):
        result["metrics"][0]["value"] = top1
        result["data"].update(test_images_used=800, test_images_total=800)

    edit_json(run / "plan.json", suit)
    for seed in (0, 1, 2):
        edit_json(run / f"cells/standard/cls/seed-{seed}/result.json", score)
    return run


def test_a_run_is_compared_with_the_figure_of_its_protocol_only(tmp_path):
    (found,) = compare(read_run(_mini(tmp_path / "a", 45.0)))
    assert found.inside
    assert found.text.startswith("standard · cls · top1: 45.00 is inside 20.6")
    (found,) = compare(read_run(_mini(tmp_path / "b", 12.0)))
    assert "12.00 is OUTSIDE" in found.text and not found.inside
    # Another number of test images, an override, another backbone: another protocol.
    for change in (
        lambda plan: plan["stages"]["cls"].update(overrides={"epochs": "3"}),
        lambda plan: plan["rows"][1].update(backbone="resnet10_b"),
        lambda plan: plan["rows"][1].update(recipe="efficient"),
    ):
        run = _mini(tmp_path / str(id(change)), 12.0)
        edit_json(run / "plan.json", change)
        assert compare(read_run(run)) == []
    run = _mini(tmp_path / "c", 12.0)
    for seed in (0, 1, 2):
        edit_json(
            run / f"cells/standard/cls/seed-{seed}/result.json",
            lambda result: result["data"].update(test_images_used=4),
        )
    assert compare(read_run(run)) == []
    run = _mini(tmp_path / "d", 12.0)
    for seed in (0, 1, 2):
        edit_json(
            run / f"cells/standard/cls/seed-{seed}/result.json",
            lambda result: result.update(lr_factor=3),
        )
    assert compare(read_run(run)) == []


@pytest.mark.parametrize(
    ("tricks", "compared"), [([], 1), (["multi_scale_flip"], 1), (["sliding"], 0), (["ema"], 0)]
)
def test_a_segmentor_with_tricks_of_its_own_has_another_protocol(tmp_path, tricks, compared):
    run = write_run(tmp_path / "run")

    def suit(plan):
        plan["stages"]["seg"]["config"] = "seg/configs/mini.py"
        plan["rows"][1]["backbone"] = "resnet10_b-w24"

    def change(result):
        result["tricks"] = tricks
        result["data"].update(test_images_used=80, test_images_total=80)

    edit_json(run / "plan.json", suit)
    for seed in (0, 1, 2):
        edit_json(run / f"cells/standard/seg/seed-{seed}/result.json", change)
    found = [c for c in compare(read_run(run)) if c.figure.metric == "miou"]
    assert len(found) == compared


def test_the_paper_s_figure_stands_in_the_suite(tmp_path):
    run = write_run(tmp_path / "run", references={"tricks": {"top1": 77.9, "map": 79.2}})
    edit_json(run / "plan.json", lambda plan: plan["stages"]["cls"].update(config=figures.IMAGENET))
    for seed in (0, 1, 2):
        edit_json(
            run / f"cells/tricks/cls/seed-{seed}/result.json",
            lambda result: result["data"].update(
                classes=1000, test_images_used=50_000, test_images_total=50_000
            ),
        )
    # Not its mAP, whose protocol the paper does not state.
    (found,) = compare(read_run(run))
    assert "tricks · cls · top1: 68.90 is OUTSIDE 77.40 to 78.40 (1812.01187" in found.text


def test_smoke_runs_have_no_figures(tmp_path):
    run = read_run(write_run(tmp_path / "run", budget="smoke"))
    assert compare(run) == [] and curve_warnings(run) == []


def test_a_finished_classifier_s_curve_is_read(tmp_path):
    run = write_run(tmp_path / "run", seeds=(0,))
    edit_json(run / "plan.json", lambda plan: plan["rows"][2].update(backbone="resnet50_d"))
    edit_json(run / "plan.json", lambda plan: plan["rows"][2].update(tricks=["cosine"]))
    cell = run / "cells/tricks/cls/seed-0"
    edit_json(
        cell / "result.json",
        lambda result: result["data"].update(
            classes=1000, test_images_used=50_000, test_images_total=50_000
        ),
    )
    slow = [{"step": e, "epoch": e, "top1": 0.2 * e} for e in range(1, 121)]
    edit_json(cell / "curves.json", lambda curve: curve.update(val=slow))
    (found,) = curve_warnings(read_run(run))
    assert found.startswith(
        "tricks · cls · seed 0: top-1 is at best 1.2 after epoch 6, where gluoncv-"
    )
    # The published curves are of the published rate.
    edit_json(cell / "result.json", lambda result: result.update(lr_factor=0.3))
    assert curve_warnings(read_run(run)) == []


def test_a_running_classifier_is_warned_of_by_the_harness(tmp_path, monkeypatch):
    world = World(tmp_path, behaviour={"standard/cls": "slow-learner"})
    monkeypatch.setattr(curves, "_LIKE", ((r".*", "step", 120, ("paper-fig3-step",)),))
    world.run()
    (told,) = [line for line in world.display.lines if "warning" in line]
    assert told.startswith("standard · cls · seed 0: warning: top-1 is at best 3.0 after epoch 6")
    slower = tuple(row.with_task("cls", lr=0.3) for row in ROWS)
    world = World(tmp_path / "2", make_suite(slower), behaviour={"standard/cls": "slow-learner"})
    world.run()
    assert not [line for line in world.display.lines if "warning" in line]


def test_the_command_tells_and_its_status_says_it_too(tmp_path, capsys):
    assert main(["verify", str(_mini(tmp_path / "good", 45.0))]) == 0
    assert "1 compared, 0 outside their band." in capsys.readouterr().out
    assert main(["verify", str(_mini(tmp_path / "bad", 12.0))]) == 1
    out = capsys.readouterr().out
    assert "12.00 is OUTSIDE 20.6" in out and "1 compared, 1 outside" in out
    other = write_run(tmp_path / "other")
    assert main(["verify", str(other)]) == 0
    assert "No published figure has the protocol of" in capsys.readouterr().out
    assert main(["verify", "voc"]) == 2
    assert (
        "verify voc was given without a folder; write `verify voc PATH`" in capsys.readouterr().err
    )
    assert main(["verify", str(tmp_path / "absent")]) == 2
    assert "absent" in capsys.readouterr().err
