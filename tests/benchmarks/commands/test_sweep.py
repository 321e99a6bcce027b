"""Sweeps over learning rates: the trials, the choice, and the resulting suite."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from support.world import SUITE_TASKS, World, answer, forget_digests, make_data, make_row

from benchmarks import cli
from benchmarks.commands import sweep
from benchmarks.plan import preflight
from benchmarks.suite.load import find_suite, load_suite
from benchmarks.suite.model import Row, Suite, replace
from benchmarks.suite.write import suite_text
from contract.errors import UserError
from contract.files import read_json
from contract.tasks import TASKS

SUITE = f"""
title = "Tiny"
description = "Three rows."
{SUITE_TASKS}
seeds = [4, 5]
rows = [
    dict(name="scratch", backbone="resnet10_b", pretrain=False, note="control"),
    dict(name="standard", backbone="resnet10_b", recipe="standard", reference=dict(map=40)),
    dict(name="tricks", backbone="resnet10_d", recipe="efficient", tricks=["cosine"], seg_lr=2),
]
"""
# Trials of detection by row, for the factors 0.3, 1 and 3.
SCORES = {"scratch": (20, 21, 22.5), "standard": (40, 43.25, 43.1), "tricks": (50, 50, 49)}


class Harness:
    """The command `sweep` on a small repository, with fake tasks."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World(folder)
        for task in ("det", "seg"):
            self.world.edit(f"{task}/configs/tricks/holdout.py", "holdout = True\n")
        self.suite = folder / "tiny.py"
        self.suite.write_text(SUITE, encoding="utf-8")
        data = make_data()
        for name in ("inspect_data", "glance_at_data"):
            monkeypatch.setattr(preflight, name, lambda d, cache: data[d.path.name[:3]])
        self.run_dir = self.world.root / "runs" / "tiny-sweep-det"
        self.give(SCORES)

    def give(self, scores: dict[str, tuple[float, ...]], factors: str = "0.3 1 3") -> None:
        """Set the scores of the fake trials."""
        for row, found in scores.items():
            for factor, score in zip(factors.split(), found, strict=True):
                self.world.behaviour[f"{row}.lr{factor}/det"] = f"score={score}"

    def sweep(self, *words: str) -> int:
        options = cli.parse(["sweep", str(self.suite), "--stage", "det", *words])
        return sweep.sweep(
            options,
            root=self.world.root,
            build_command=self.world.command,
            ask=answer,
        )

    @property
    def written(self) -> Path:
        return self.run_dir / "tiny-det-lr.py"

    def identity(self, row: str, task: str) -> str:
        """The identity of a run."""
        path = self.run_dir / "cells" / row / task / "seed-4" / "run.json"
        return (read_json(path) or {})["identity"]

    def command(self, row: str, task: str) -> list[str]:
        """The command line of a run."""
        path = self.run_dir / "cells" / row / task / "seed-4" / "run.json"
        return (read_json(path) or {})["command"]


@pytest.fixture
def harness(tmp_path, monkeypatch) -> Harness:
    return Harness(tmp_path, monkeypatch)


def test_trials_use_the_requested_device(harness, monkeypatch):
    requests = []

    def keep(request, **options):
        requests.append(request)
        return sweep.INTERRUPTED

    monkeypatch.setattr(sweep, "run_request", keep)
    harness.sweep("--device", "cpu", "--precision", "bf16")
    (request,) = requests
    assert (request.selection.device, request.selection.precision) == ("cpu", "bf16")
    assert request.run_dir.name == "tiny-sweep-det+bf16+cpu"


def test_rows_share_trials_on_held_out_images(harness):
    assert harness.sweep("--jobs", "4") == 0
    starts = [line.split()[1] for line in harness.world.journal_lines("start")]
    trials = {
        f"{row}.lr{factor}/det/seed-4"
        for row in ("scratch", "standard", "tricks")
        for factor in ("0.3", "1", "3")
    }
    assert {name for name in starts if "/det/" in name} == trials
    # One classifier for a row's trials, and none of the other dense task.
    trained = [name.partition(".lr")[0] for name in starts if "/cls/" in name]
    assert sorted(trained) == ["standard", "tricks"]
    assert len(starts) == 9 + 2
    for factor in ("0.3", "3"):
        command = harness.command(f"standard.lr{factor}", "det")
        assert command[command.index("--lr-factor") + 1] == str(float(factor))
        assert command[command.index("--trick") + 1] == "holdout"
        checkpoint = Path(command[command.index("--checkpoint") + 1])
        assert checkpoint.parent == harness.world.root / "runs" / "store" / harness.identity(
            "standard.lr1", "cls"
        )
        classifier = harness.command(f"standard.lr{factor}", "cls")
        assert "--lr-factor" not in classifier and "holdout" not in classifier
    assert "--lr-factor" not in harness.command("standard.lr1", "det")
    # Finished trials are kept, and more factors add to them.
    assert harness.sweep() == 0
    assert len(harness.world.journal_lines("start")) == len(starts)
    harness.give({row: (60,) for row in SCORES}, "10")
    assert harness.sweep("--factors", "0.3", "1", "3", "10") == 0
    assert len(harness.world.journal_lines("start")) == len(starts) + 3
    assert {row.of("det").lr for row in load_suite(str(harness.written)).rows} == {10.0}


def test_writes_best_of_each_row_as_suite(harness, capsys):
    assert harness.sweep() == 0
    base, chosen = load_suite(str(harness.suite)), load_suite(str(harness.written))
    basis = "chosen on held-out training images (seed 4): mAP"
    notes = {
        "scratch": f"control; learning rate of detection × 3 of 0.3, 1, 3, {basis} 20.00, 21.00, 22.50; the best is at "
        "the edge of the range",
        "standard": f"learning rate of detection × 1 of 0.3, 1, 3, {basis} 40.00, 43.25, 43.10",
        # Equal scores: the factor nearest to 1.
        "tricks": f"learning rate of detection × 1 of 0.3, 1, 3, {basis} 50.00, 50.00, 49.00",
    }
    factors = {"scratch": 3.0, "standard": 1.0, "tricks": 1.0}
    assert chosen.rows == tuple(
        replace(row, note=notes[row.name]).with_task("det", lr=factors[row.name])
        for row in base.rows
    )
    for field in ("tasks", "datasets", "seeds", "teachers", "columns", "intended"):
        assert getattr(chosen, field) == getattr(base, field)
    assert chosen.name == "tiny-det-lr"
    assert chosen.title == "Tiny, learning rate of detection by row"
    assert chosen.description == (
        "Three rows. The learning rate of detection is each row's best of 3 on held-out training images, with one seed."
    )
    text = capsys.readouterr().out
    assert "scratch: the best factor, 3, is at the edge: widen --factors" in text
    assert "standard: the best" not in text
    assert f"bash benchmarks/run_all.sh {harness.written}" in text
    row = next(line.split() for line in text.splitlines() if line.startswith("standard "))
    assert row[1:] == ["40.00", "43.25", "←", "43.10", "×", "1"]


def test_lowest_error_is_best(harness, monkeypatch):
    first, *others = TASKS["det"].metrics
    error = dataclasses.replace(first, unit="px", higher_is_better=False)
    entry = dataclasses.replace(TASKS["det"], metrics=(error, *others))
    monkeypatch.setitem(TASKS, "det", entry)
    assert harness.sweep() == 0
    chosen = {row.name: row.of("det").lr for row in load_suite(str(harness.written)).rows}
    assert chosen == {"scratch": 0.3, "standard": 0.3, "tricks": 3.0}


def test_incomplete_row_is_left_out(harness, capsys):
    assert harness.sweep() == 0
    harness.world.behaviour["standard.lr3/det"] = "user-error"
    harness.world.edit("det/train.py", "import engine.run\nEPOCHS = 2\n")
    forget_digests()
    capsys.readouterr()
    assert harness.sweep() == 1
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "standard: no factor is chosen, because not all of its 3 trials have a result: × 3 (the image a.jpg is "
        "truncated; remove it)." in text
    )
    assert "Written without the 1 row(s) above:" in text
    assert [row.name for row in load_suite(str(harness.written)).rows] == ["scratch", "tricks"]
    # Only the failed trial runs again.
    harness.give(SCORES)
    assert harness.sweep() == 0
    assert len(load_suite(str(harness.written)).rows) == 3


def test_no_suite_without_a_choice(harness, capsys):
    assert harness.sweep("--rows", "standard") == 0
    assert [row.name for row in load_suite(str(harness.written)).rows] == ["standard"]
    harness.world.behaviour["tricks.lr0.3/cls"] = "fail"
    harness.world.behaviour["tricks.lr1/cls"] = "fail"
    harness.world.behaviour["tricks.lr3/cls"] = "fail"
    assert harness.sweep("--rows", "tricks") == 1
    assert not harness.written.exists()
    text = capsys.readouterr().out
    assert "× 0.3 (skipped: its classifier failed)" in text and "No suite was written." in text


def test_command_overrides_are_in_suite(harness, tmp_path):
    folder = tmp_path / "seg-of-mine"
    for part in ("images/training", "images/validation", "annotations/training"):
        (folder / part).mkdir(parents=True)
    words = ["--seg-data", str(folder), "--set", "det.train_cfg.max_epochs=2", "--seeds", "7"]
    assert harness.sweep(*words, "--rows", "scratch", "tricks") == 0
    (harness.run_dir,) = (harness.world.root / "runs").glob("tiny-sweep-det+*")
    base, chosen = load_suite(str(harness.suite)), load_suite(str(harness.written))
    assert chosen.datasets[chosen.tasks["seg"].data].path == folder
    assert chosen.datasets[chosen.tasks["seg"].data].kind == "ade20k"
    assert chosen.tasks["det"].overrides == {"train_cfg.max_epochs": 2}
    # Only the trials have the trick `holdout` and their seed.
    assert chosen.tasks["det"].tricks == ()
    assert (chosen.tasks["cls"], chosen.seeds) == (base.tasks["cls"], (4, 5))
    assert [row.name for row in chosen.rows] == ["scratch", "tricks"]
    assert "(seed 7)" in chosen.rows[0].note


def test_second_sweep_adds_to_first(harness):
    assert harness.sweep() == 0
    for row in SCORES:
        for factor in ("0.5", "2"):
            harness.world.behaviour[f"{row}.lr{factor}/seg"] = "score=30"
    options = cli.parse(
        [
            "sweep",
            str(harness.written),
            "--stage",
            "seg",
            "--factors",
            "2",
            "0.5",
            "--budget",
            "short",
        ]
    )
    world = harness.world
    assert sweep.sweep(options, root=world.root, build_command=world.command, ask=answer) == 0
    file = world.root / "runs/tiny-det-lr-sweep-seg-short/tiny-det-lr-seg-lr.py"
    both = load_suite(str(file))
    # Equally far from 1: the smaller one.
    assert [(row.of("det").lr, row.of("seg").lr) for row in both.rows] == [
        (3, 0.5),
        (1, 0.5),
        (1, 0.5),
    ]
    assert both.rows[1].note.endswith(
        "43.10; learning rate of segmentation × 0.5 of 0.5, 2, chosen on held-out training images (seed 4, budget "
        "short): mIoU 30.00, 30.00; the best is at the edge of the range"
    )
    assert "base = '../tiny-sweep-det/tiny-det-lr.py'" in file.read_text(encoding="utf-8")


def _suite(*rows: Row) -> Suite:
    return replace(load_suite("mini"), rows=rows)


@pytest.mark.parametrize("name", ["a" * 75, "a"])
def test_trial_name_clash(name):
    rows = (
        make_row(name, "resnet10_b", pretrain=False),
        make_row("A.LR0.3", "resnet10_b", pretrain=False),
    )
    with pytest.raises(UserError, match=f"The trial '{name}.lr0.3' of row '{name}' would have a"):
        sweep.expand(_suite(*rows), "det", [0.3, 1.0])


def test_published_and_own_weights_round_trip(tmp_path):
    weights = tmp_path / "w.safetensors"
    text = (
        'base = "mini"\nrows = [dict(name="a", backbone="timm:resnet18", weights="published", det_tricks=["giou"]), '
        f'dict(name="b", backbone="x", weights={str(weights)!r}, precision="fp32", gpu_hours=2.5)]'
    )
    file = tmp_path / "own.py"
    file.write_text(text, encoding="utf-8")
    suite = load_suite(str(file))
    again = tmp_path / "again.py"
    again.write_text(
        suite_text(
            suite,
            load_suite("mini"),
            find_suite("mini"),
            tmp_path,
            head="H.",
            rows=suite.rows,
        ),
        encoding="utf-8",
    )
    assert load_suite(str(again)).rows == suite.rows
    assert "base = 'mini'" in again.read_text(encoding="utf-8")


def test_only_trained_classifiers_are_swept():
    scratch = make_row("scratch", "resnet10_b", pretrain=False)
    trials = sweep.expand(_suite(scratch), "seg", [0.5, 2.0])
    assert list(trials.tasks) == ["seg"]
    assert trials.columns == ("pixacc", "miou")
    assert [(row.name, row.of("seg").lr) for row in trials.rows] == [
        ("scratch.lr0.5", 0.5),
        ("scratch.lr2", 2.0),
    ]
    without = replace(_suite(scratch), columns=("top1", "map"))
    assert sweep.expand(without, "seg", [0.5, 2.0]).columns == ("miou",)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--stage", "cls"], "--task cls was given; classification has no trick"),
        (["--stage", "sge"], "unknown task 'sge'; did you mean 'seg'?"),
        (["--stage", "det", "--factors", "1"], "--factors 1 was given; give two or more"),
        (["--stage", "det", "--factors", "1", "1.0"], "--factors 1 1 was given; give two or more"),
        (
            ["--stage", "det", "--factors", "0", "1"],
            "--factors 0 was given; it must be a finite number",
        ),
        (
            ["--stage", "det", "--factors", "x"],
            "--factors x was given; it must be a finite number",
        ),
        (["--stage", "det", "--seeds", "0", "1"], "--seeds 0 1 was given; a sweep takes one seed"),
        (["--stage", "det", "--stages", "det"], "unknown option '--stages'"),
        ([], "the following arguments are required: --task"),
    ],
)
def test_command_line_mistakes(words, part, capsys):
    assert cli.main(["sweep", "mini", *words]) == 2
    assert part in capsys.readouterr().err
