"""The probe as a stage of the harness: every row goes through it, from its own weights, and the table shows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from harness_world import ROWS, World, make_suite

from benchmarks.plan import CACHED, RUN, WAITS
from benchmarks.preflight import check_names
from benchmarks.report.build import build_report
from benchmarks.report.page import format_html
from benchmarks.report.text import format_csv
from benchmarks.run import stage_command
from benchmarks.selection import Selection, select
from benchmarks.suite import ROOT, Row, Stage, load_suite
from contract.errors import UserError

CONFIG = "probe/configs/mini.py"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return _world(tmp_path)


def _world(folder: Path, rows: tuple[Row, ...] = ROWS, selection: Selection | None = None) -> World:
    suite = make_suite(rows)
    suite = replace(
        suite,
        stages={**suite.stages, "probe": Stage(CONFIG, "cls")},
        columns=("top1", "linear_top1", "knn_top1", "map"),
    )
    world = World(folder, suite=suite, selection=selection or Selection())
    world.edit(CONFIG, "neighbours = (20,)\n")
    return world


def _commands(world: World) -> dict[str, list[str]]:
    plan = world.plan()
    return {
        cell.key.row: stage_command(plan, cell) for cell in plan.cells if cell.key.stage == "probe"
    }


def test_every_row_is_probed_from_its_own_weights(tmp_path: Path):
    weights = tmp_path / "public.safetensors"
    weights.write_text("public weights", encoding="utf-8")
    world = _world(tmp_path, (*ROWS, Row("public", "resnet50_b", weights=weights)))
    found = {
        (cell.key.row, cell.key.stage): cell.state
        for cell in world.plan().cells
        if cell.key.stage in ("cls", "probe")
    }
    # Behind the classifiers, before detection.
    assert list(found)[2:] == [
        (name, "probe") for name in ("scratch", "standard", "tricks", "public")
    ]
    assert [found[name, "probe"] for name in ("scratch", "standard", "tricks", "public")] == [
        *(RUN, WAITS, WAITS, RUN)
    ]
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
        "standard": str(world.run_dir / "cells/standard/cls/seed-0/backbone.safetensors"),
        "tricks": str(world.run_dir / "cells/tricks/cls/seed-0/backbone.safetensors"),
        "public": str(weights),
    }
    outcomes = world.run()
    assert {outcomes[f"{row}/probe"].status for row in commands} == {"completed"}
    assert "read public weights" in world.journal_lines("read")
    assert all(cell.state == CACHED for cell in world.plan().cells)


def test_the_table_the_csv_and_the_report_show_it(world: World):
    world.run()
    report = build_report(world.run_dir)
    table = report.table
    headings = [column.heading for column in table.columns]
    assert headings == ["top-1 ↑", "linear probe ↑", "k-NN ↑", "mAP ↑"]
    cells = {row.row.name: row.cells["linear_top1"].mean for row in table.rows}
    assert cells == {"scratch": "50.00", "standard": "50.00", "tricks": "50.00"}
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
    ("file", "stages"),
    [
        (CONFIG, {"probe"}),
        ("probe/linear.py", {"probe"}),
        ("cls_train/transforms.py", {"cls"}),
        ("det/train.py", {"det"}),
    ],
)
def test_what_matters_to_a_probe(world: World, file: str, stages: set[str]):
    world.run()
    world.edit(file, "NEW = 1\n")
    changed = {
        cell.key.stage
        for cell in world.plan().cells
        if cell.state != CACHED and cell.reason.startswith("will run again")
    }
    assert changed == stages


def test_the_classifier_s_data_move_with_the_probe_s(tmp_path: Path):
    selection = Selection(data={"cls": Path("/mine")})
    suite = select(_world(tmp_path).suite, selection, [])
    assert suite.stages["probe"].data == suite.stages["cls"].data == "--cls-data"
    assert suite.datasets["--cls-data"].path == Path("/mine")


def test_a_probe_on_other_data_stays_where_it_is(tmp_path: Path):
    suite = _world(tmp_path).suite
    other = replace(
        suite,
        stages={**suite.stages, "probe": Stage(CONFIG, "other")},
        datasets={**suite.datasets, "other": suite.datasets["cls"]},
    )
    moved = select(other, Selection(data={"cls": Path("/mine")}), [])
    assert (moved.stages["cls"].data, moved.stages["probe"].data) == ("--cls-data", "other")
    both = select(suite, Selection(data={"cls": Path("/mine"), "probe": Path("/yours")}), [])
    assert both.datasets[both.stages["probe"].data].path == Path("/yours")
    assert both.datasets[both.stages["cls"].data].path == Path("/mine")


def test_the_probe_brings_the_classifier_it_starts_from(tmp_path: Path):
    suite = select(_world(tmp_path).suite, Selection(stages=("probe",)), [])
    assert set(suite.stages) == {"cls", "probe"}


def test_a_config_or_a_trick_that_does_not_exist_is_told(tmp_path: Path):
    suite = load_suite("probe-mini")
    stage = Stage("cls_train/configs/mini.py", "cls", tricks=("mixup",))
    check_names(suite, ROOT)
    with pytest.raises(UserError) as error:
        check_names(replace(suite, stages={**suite.stages, "probe": stage}), ROOT)
    assert str(error.value) == ("stage 'probe': unknown trick 'mixup'; known: none")
    missing = replace(stage, config="probe/configs/minni.py", tricks=())
    with pytest.raises(UserError, match=r"did you mean 'probe/configs/mini\.py'"):
        check_names(replace(suite, stages={**suite.stages, "probe": missing}), ROOT)
