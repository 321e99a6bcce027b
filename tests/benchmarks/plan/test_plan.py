"""The plan: its runs, the state and reason of each, and the file."""

from __future__ import annotations

import pytest
from support.world import World, make_row, make_suite

from benchmarks.plan.plan import CACHED, RESUME, RUN, WAITS
from benchmarks.results.read import read_run
from benchmarks.suite.select import Selection
from contract.errors import UserError
from contract.files import read_json


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def states(world: World) -> dict[str, tuple[str, str]]:
    return {f"{c.key.row}/{c.key.task}": (c.state, c.reason) for c in world.plan().runs}


def test_runs_of_a_suite(world):
    found = states(world)
    assert list(found)[:2] == ["standard/cls", "tricks/cls"]
    assert "scratch/cls" not in found
    assert found["standard/cls"] == found["scratch/det"] == (RUN, "not run yet")
    assert found["tricks/seg"] == (WAITS, "waits for its classifier")


def test_row_with_weights_has_no_classifier(tmp_path):
    weights = tmp_path / "public.safetensors"
    weights.write_text("weights", encoding="utf-8")
    world = World(
        tmp_path, suite=make_suite((make_row("public", "resnet50_b", weights=str(weights)),))
    )
    assert list(states(world)) == ["public/det", "public/seg"]
    before = world.plan().runs[0].identity
    weights.write_text("other weights", encoding="utf-8")
    assert world.plan().runs[0].identity != before
    world.run()
    assert "read other weights" in world.journal_lines("read")


def test_row_with_missing_trick_is_not_run(tmp_path):
    row = make_row(
        "kd", "x", recipe="standard", tricks=("distillation",), requires=("distillation",)
    )
    world = World(tmp_path, suite=make_suite((*make_suite().rows, row)))
    assert not any(name.startswith("kd/") for name in states(world))
    plan = world.plan()
    plan.write()
    document = read_json(world.run_dir / "plan.json")
    assert document is not None
    reason = "not available: trick distillation is not in this version"
    assert document["rows"][-1]["unavailable"] == reason


def test_nothing_to_run(tmp_path):
    selection = Selection(rows=("scratch",), tasks=("cls",))
    with pytest.raises(UserError, match="There is nothing to run"):
        World(tmp_path, selection=selection).plan()


@pytest.mark.parametrize(
    ("selection", "reason"),
    [
        (Selection(precision="bf16"), "the number format differs (float32 → bfloat16)"),
        (Selection(deterministic=True), "the option --deterministic differs"),
        (Selection(budget="short"), "the budget differs (full → short)"),
        (Selection(overrides={"det": {"lr": 2}}), "the --set overrides differ"),
    ],
)
def test_why_a_run_repeats(world, selection, reason):
    world.run()
    assert states(world)["scratch/det"] == (CACHED, "done")
    world.selection = selection
    assert states(world)["scratch/det"] == (RUN, f"will run again: {reason}")


def test_state_follows_leftovers(world):
    world.run()
    folder = world.stored("standard/det")
    (folder / "result.json").write_text("{", encoding="utf-8")
    assert states(world)["standard/det"][1] == "will run again: its result.json cannot be read"
    (folder / "result.json").unlink()
    assert states(world)["standard/det"] == (RESUME, "was interrupted")
    (world.stored("standard/cls") / "backbone.safetensors").unlink()
    assert "backbone.safetensors is gone" in states(world)["standard/cls"][1]
    assert states(world)["standard/det"][0] == WAITS


def test_document_is_readable_by_reports(world):
    world.plan().write()
    run = read_run(world.run_dir)
    assert [row.name for row in run.rows] == ["scratch", "standard", "tricks"]
    assert len(run.runs) == 8
    assert {record.state for record in run.runs} == {"missing"}
