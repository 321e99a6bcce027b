"""A run beside the published figures and curves of its protocol."""

from __future__ import annotations

import pytest
from support.fake_run import edit_json, write_run

from benchmarks.cli import main
from benchmarks.published import figures
from benchmarks.results.comparison import compare, curve_warnings
from benchmarks.results.read import read_run


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


def test_compares_same_protocol_only(tmp_path):
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
def test_segmentor_with_tricks_has_other_protocol(tmp_path, tricks, compared):
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


@pytest.mark.parametrize(
    ("images", "compared"), [((None, None), True), ((32, 32), True), ((16, 32), False)]
)
def test_other_batch_statistics_are_not_compared(tmp_path, capsys, images, compared):
    run = _mini(tmp_path / "run", 45.0)
    batch = {
        "images": 32,
        "processes": 1,
        "device_batch_size": 16,
        "batch_norm_images": images[0],
        "published_batch_norm_images": images[1],
    }
    edit_json(
        run / "cells/standard/cls/seed-1/result.json", lambda result: result.update(batch=batch)
    )
    assert bool(compare(read_run(run))) == compared
    main(["verify", str(run)])
    said = "standard · cls: not compared, because its batch statistics are those of 16 images and"
    assert (said in capsys.readouterr().out) == (not compared)


def test_suite_holds_published_figure(tmp_path):
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


def test_smoke_run_has_no_figures(tmp_path):
    run = read_run(write_run(tmp_path / "run", budget="smoke"))
    assert compare(run) == [] and curve_warnings(run) == []


def test_reads_curve_of_finished_classifier(tmp_path):
    run = write_run(tmp_path / "run", seeds=(0,))
    edit_json(run / "plan.json", lambda plan: plan["rows"][2].update(backbone="resnet50_d"))
    edit_json(run / "plan.json", lambda plan: plan["rows"][2].update(tricks=["cosine"]))
    folder = run / "cells/tricks/cls/seed-0"
    edit_json(
        folder / "result.json",
        lambda result: result["data"].update(
            classes=1000, test_images_used=50_000, test_images_total=50_000
        ),
    )
    slow = [{"step": e, "epoch": e, "top1": 0.2 * e} for e in range(1, 121)]
    edit_json(folder / "curves.json", lambda curve: curve.update(val=slow))
    (found,) = curve_warnings(read_run(run))
    assert found.startswith(
        "tricks · cls · seed 0: top-1 is at best 1.2 after epoch 6, where gluoncv-"
    )
    # The published curves are of the published rate.
    edit_json(folder / "result.json", lambda result: result.update(lr_factor=0.3))
    assert curve_warnings(read_run(run)) == []


def test_command_and_exit_status(tmp_path, capsys):
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
