"""`plan.json`: one model for writer and reader, and plans of the previous version."""

from __future__ import annotations

import json

import pytest
from support.world import World, make_row, make_suite

from benchmarks.plan.document import PlanDocument, read_plan
from benchmarks.results.read import read_run
from contract.errors import UserError

OLD = {
    "schema_version": 2,
    "suite": "mini",
    "title": "Mini",
    "description": "Words.",
    "budget": "full",
    "precision": "auto",
    "seeds": [0],
    "columns": ["top1", "map"],
    "intended": {},
    "stages": {
        "cls": {"config": "c.py", "data": "d", "kind": "imagefolder", "overrides": {"lr": "1"}},
        "det": {"config": "d.py", "data": "e", "kind": "voc", "overrides": {}},
    },
    "rows": [
        {
            "name": "a",
            "backbone": "resnet10",
            "pretrain": True,
            "recipe": "efficient",
            "tricks": ["mixup"],
            "teacher": None,
            "det_tricks": ["giou"],
            "seg_tricks": [],
            "cls_lr": 1.0,
            "det_lr": 0.3,
            "seg_lr": 1.0,
            "weights": None,
            "reference": {"map": 40.0, "top1": None},
            "note": None,
            "unavailable": None,
            "parameters": 5,
        }
    ],
    "teachers": [],
    "cells": [
        {
            "row": "a",
            "stage": "cls",
            "seed": 0,
            "path": "cells/a/cls/seed-0",
            "identity": "x",
            "needs": None,
        },
        {
            "row": "a",
            "stage": "det",
            "seed": 0,
            "path": "cells/a/det/seed-0",
            "identity": None,
            "needs": "cells/a/cls/seed-0",
        },
    ],
}


def _write(folder, content):
    (folder / "plan.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_round_trip(tmp_path):
    row = make_row(
        "a", "resnet10", recipe="efficient", tricks=["cosine"], det_lr=0.3, seg=dict(lr=2)
    )
    world = World(tmp_path, suite=make_suite((row,)))
    plan = world.plan()
    plan.write()
    document = read_plan(world.run_dir)
    assert document == plan.document()
    assert document.rows[0].overrides == ("det: lr × 0.3", "seg: lr × 2")
    assert [(run.task, run.needs) for run in document.runs] == [
        ("cls", None),
        ("det", "cells/a/cls/seed-0"),
        ("seg", "cells/a/cls/seed-0"),
    ]


def test_reads_version_2(tmp_path):
    document = read_plan(_write(tmp_path, OLD))
    [row] = document.rows
    assert (row.recipe, row.tricks, row.teacher) == ("efficient", ("mixup",), None)
    assert (row.of("det").tricks, row.of("det").lr) == (("giou",), 0.3)
    assert (row.reference, row.note) == ({"map": 40.0}, "")
    assert [run.task for run in document.runs] == ["cls", "det"]
    assert document.tasks["cls"].overrides == {"lr": "1"}
    run = read_run(tmp_path)
    assert [(record.task, record.state) for record in run.runs] == [
        ("cls", "missing"),
        ("det", "missing"),
    ]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"schema_version": 1}, "has schema_version 1; this version reads 3"),
        ({"budget": "tiny"}, "'budget' is 'tiny'"),
        ({"seeds": "x"}, "'seeds' is 'x'"),
        ({"rows": []}, "it has a run of row 'a', which is not among its rows"),
        ({"rows": [3]}, "no sound entry"),
    ],
)
def test_unreadable_plan(tmp_path, change, part):
    with pytest.raises(UserError) as error:
        read_plan(_write(tmp_path, {**OLD, **change}))
    assert part in str(error.value)
    assert "Start `python -m benchmarks run` again" in str(error.value)


def test_folder_without_plan(tmp_path):
    with pytest.raises(UserError, match=r"plan\.json does not exist\. Name a folder"):
        read_plan(tmp_path)
    (tmp_path / "plan.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="is not valid JSON"):
        read_plan(tmp_path)


def test_schema_names_no_task():
    text = json.dumps(PlanDocument.model_json_schema())
    assert '"det' not in text and '"seg' not in text
