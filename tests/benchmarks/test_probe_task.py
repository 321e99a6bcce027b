"""The probe as a task of the harness: every row is probed from its own weights, and the table shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.world import ROWS, World, make_row, make_suite

from benchmarks.plan.plan import CACHED, RUN, WAITS
from benchmarks.plan.preflight import check_names
from benchmarks.report.build import build_report
from benchmarks.report.page import format_html
from benchmarks.report.text import format_csv
from benchmarks.run.command import task_command
from benchmarks.suite.load import load_suite
from benchmarks.suite.model import Row, TaskSetup, replace
from benchmarks.suite.names import ROOT
from benchmarks.suite.select import Selection, select
from contract.errors import UserError

CONFIG = "probe/configs/mini.py"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return _world(tmp_path)


def _world(folder: Path, rows: tuple[Row, ...] = ROWS, selection: Selection | None = None) -> World:
    suite = make_suite(rows)
    suite = replace(
        suite,
        tasks={**suite.tasks, "probe": TaskSetup(config=CONFIG, data="cls")},
        columns=("top1", "linear_top1", "knn_top1", "map"),
    )
    world = World(folder, suite=suite, selection=selection or Selection())
    world.edit(CONFIG, "neighbours = (20,)\n")
    world.edit("probe/__init__.py", "")
    world.edit(
        "probe/__main__.py",
        "from probe import linear\n",
    )
    world.edit("probe/linear.py", "TOLERANCE = 1\n")
    return world


def _commands(world: World) -> dict[str, list[str]]:
    plan = world.plan()
    return {run.key.row: task_command(plan, run) for run in plan.runs if run.key.task == "probe"}


def test_every_row_is_probed_from_its_weights(tmp_path: Path):
    weights = tmp_path / "public.safetensors"
    weights.write_text("public weights", encoding="utf-8")
    world = _world(tmp_path, (*ROWS, make_row("public", "resnet50_b", weights=str(weights))))
    found = {
        (run.key.row, run.key.task): run.state
        for run in world.plan().runs
        if run.key.task in ("cls", "probe")
    }
    # Behind the classifiers, before detection.
    assert list(found)[2:] == [
        (name, "probe") for name in ("scratch", "standard", "tricks", "public")
    ]
    assert [found[name, "probe"] for name in ("scratch", "standard", "tricks", "public")] == [
        *(RUN, WAITS, WAITS, RUN)
    ]
    outcomes = world.run()
    commands = _commands(world)
    for row, words in commands.items():
        assert words[1:4] == ["-m", "probe", CONFIG]
        assert "--recipe" not in words and "--trick" not in words, row
    given = {
        r: w[w.index("--checkpoint") + 1] if "--checkpoint" in w else None
        for r, w in commands.items()
    }
    assert given == {
        "scratch": None,
        "standard": str(world.stored("standard/cls") / "backbone.safetensors"),
        "tricks": str(world.stored("tricks/cls") / "backbone.safetensors"),
        "public": str(weights),
    }
    assert {outcomes[f"{row}/probe"].status for row in commands} == {"completed"}
    assert "read public weights" in world.journal_lines("read")
    assert all(run.state == CACHED for run in world.plan().runs)


def test_shown_in_table_csv_and_report(world: World):
    world.run()
    report = build_report(world.run_dir)
    table = report.table
    headings = [column.heading for column in table.columns]
    assert headings == ["top-1 ↑", "linear probe ↑", "k-NN ↑", "mAP ↑"]
    means = {row.row.name: row.cells["linear_top1"].mean for row in table.rows}
    assert means == {"scratch": "50.00", "standard": "50.00", "tricks": "50.00"}
    assert ("probe", "any; 2 of 2 test images") in table.protocol
    assert (
        sum(
            ",probe,knn_top1,%,true,false,completed," in line
            for line in format_csv(report).splitlines()
        )
        == 3
    )
    page = format_html(report)
    assert "linear probe" in page and "k-NN" in page
    assert report.findings


@pytest.mark.parametrize(
    ("file", "tasks"),
    [
        (CONFIG, {"probe"}),
        ("probe/linear.py", {"probe"}),
        ("cls_train/transforms.py", {"cls"}),
        ("det/train.py", {"det"}),
    ],
)
def test_identity_of_a_probe(world: World, file: str, tasks: set[str]):
    world.run()
    world.edit(file, "NEW = 1\n")
    changed = {
        run.key.task
        for run in world.plan().runs
        if run.state != CACHED and run.reason.startswith("will run again")
    }
    assert changed == tasks


def test_data_option_moves_classifier_and_probe(tmp_path: Path):
    selection = Selection(data={"cls": Path("/mine")})
    suite = select(_world(tmp_path).suite, selection, [])
    assert suite.tasks["probe"].data == suite.tasks["cls"].data == "--cls-data"
    assert suite.datasets["--cls-data"].path == Path("/mine")


def test_probe_with_own_data_stays(tmp_path: Path):
    suite = _world(tmp_path).suite
    other = replace(
        suite,
        tasks={**suite.tasks, "probe": TaskSetup(config=CONFIG, data="other")},
        datasets={**suite.datasets, "other": suite.datasets["cls"]},
    )
    moved = select(other, Selection(data={"cls": Path("/mine")}), [])
    assert (moved.tasks["cls"].data, moved.tasks["probe"].data) == ("--cls-data", "other")
    both = select(suite, Selection(data={"cls": Path("/mine"), "probe": Path("/yours")}), [])
    assert both.datasets[both.tasks["probe"].data].path == Path("/yours")
    assert both.datasets[both.tasks["cls"].data].path == Path("/mine")


def test_includes_its_classifier(tmp_path: Path):
    plan = _world(tmp_path, selection=Selection(tasks=("probe",))).plan()
    assert {run.key.task for run in plan.wanted} == {"cls", "probe"}
    scratch = Selection(tasks=("probe",), rows=("scratch",))
    plan = _world(tmp_path, selection=scratch).plan()
    assert {run.key.task for run in plan.wanted} == {"probe"}


def test_unknown_config_or_trick(tmp_path: Path):
    suite = load_suite("probe-mini")
    task = TaskSetup(config="cls_train/configs/mini.py", data="cls", tricks=("mixup",))
    check_names(suite, ROOT)
    with pytest.raises(UserError) as error:
        check_names(replace(suite, tasks={**suite.tasks, "probe": task}), ROOT)
    assert str(error.value) == ("task 'probe': unknown trick 'mixup'; known: none")
    missing = replace(task, config="probe/configs/minni.py", tricks=())
    with pytest.raises(UserError, match=r"did you mean 'probe/configs/mini\.py'"):
        check_names(replace(suite, tasks={**suite.tasks, "probe": missing}), ROOT)
