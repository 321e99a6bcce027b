"""The plan: which cells there are, what is done with each and why, and what is written of it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.world import World, make_row, make_suite

from benchmarks.plan import machine
from benchmarks.plan.machine import choose_slots
from benchmarks.plan.plan import CACHED, RESUME, RUN, WAITS
from benchmarks.plan.preflight import check_names, fetch_published
from benchmarks.plan.store import RunKey, locked
from benchmarks.plan.timings import Cost, Timings, total_seconds
from benchmarks.results import read_run
from benchmarks.suite.model import replace
from benchmarks.suite.names import ROOT
from benchmarks.suite.select import Selection
from contract.errors import UserError
from contract.files import read_json


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def states(world: World) -> dict[str, tuple[str, str]]:
    return {f"{c.key.row}/{c.key.task}": (c.state, c.reason) for c in world.plan().runs}


def test_cells_of_a_suite(world):
    found = states(world)
    assert list(found)[:2] == ["standard/cls", "tricks/cls"]
    assert "scratch/cls" not in found
    assert found["standard/cls"] == found["scratch/det"] == (RUN, "not run yet")
    assert found["tricks/seg"] == (WAITS, "waits for its classifier")


def test_a_row_with_weights_has_no_classifier_to_wait_for(tmp_path):
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


def test_a_row_whose_trick_is_missing_is_stated_and_not_run(tmp_path):
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


def test_nothing_to_run_is_a_mistake(tmp_path):
    selection = Selection(rows=("scratch",), tasks=("cls",))
    with pytest.raises(UserError, match="There is nothing to run"):
        World(tmp_path, selection=selection).plan()


@pytest.mark.parametrize(
    ("selection", "reason"),
    [
        (Selection(precision="bf16"), "the number format differs (float32 → bfloat16)"),
        (Selection(budget="short"), "the budget differs (full → short)"),
        (Selection(overrides={"det": {"lr": 2}}), "the --set overrides differ"),
    ],
)
def test_why_a_cell_runs_again(world, selection, reason):
    world.run()
    assert states(world)["scratch/det"] == (CACHED, "done")
    world.selection = selection
    assert states(world)["scratch/det"] == (RUN, f"will run again: {reason}")


def test_what_is_left_of_a_cell_decides(world):
    world.run()
    folder = world.stored("standard/det")
    (folder / "result.json").write_text("{", encoding="utf-8")
    assert states(world)["standard/det"][1] == "will run again: its result.json cannot be read"
    (folder / "result.json").unlink()
    assert states(world)["standard/det"] == (RESUME, "was interrupted")
    (world.stored("standard/cls") / "backbone.safetensors").unlink()
    assert "backbone.safetensors is gone" in states(world)["standard/cls"][1]
    assert states(world)["standard/det"][0] == WAITS


def test_the_plan_is_what_the_reports_read(world):
    world.plan().write()
    run = read_run(world.run_dir)
    assert [row.name for row in run.rows] == ["scratch", "standard", "tricks"]
    assert len(run.cells) == 8
    assert {cell.state for cell in run.cells} == {"missing"}


def test_two_runs_in_one_folder_are_kept_apart(tmp_path):
    code = (
        "import sys; from pathlib import Path; from benchmarks.plan.store import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        owner = rf"Another run \(process {holder.pid}\) is working in"
        with pytest.raises(UserError, match=owner), locked(tmp_path):
            pass
        holder.kill()
        holder.wait()
        # The kernel has let go of the lock.
        with locked(tmp_path):
            pass


def slots(monkeypatch, cores, memory_gib, gpus=(), jobs=None):
    monkeypatch.setattr(machine, "cpu_cores", lambda: cores)
    monkeypatch.setattr(machine, "memory_bytes", lambda: memory_gib * 1024**3)
    monkeypatch.setattr(machine, "visible_gpus", lambda: gpus)
    chosen = choose_slots(jobs)
    return chosen.jobs, chosen.threads


def test_how_many_cells_run_at_a_time(monkeypatch):
    assert slots(monkeypatch, 1, 8) == (1, 1)
    assert slots(monkeypatch, 2, 8) == (2, 1)
    assert slots(monkeypatch, 2, 4) == (1, 2)
    assert slots(monkeypatch, 16, 64) == (8, 2)
    assert slots(monkeypatch, 16, 64, ("0", "1")) == (2, 8)
    assert slots(monkeypatch, 4, 8, jobs=4) == (4, 1)


def test_the_time_that_is_left(world, tmp_path):
    plan = world.plan()
    assert Timings(tmp_path / "absent.json").estimate(plan.runs, "full") == [None] * 8
    assert total_seconds(plan, [None] * 8, 2) is None
    costs = [Cost(30.0 if cell.key.task == "cls" else 10.0, 500.0) for cell in plan.runs]
    assert total_seconds(plan, costs, 2) == 60.0
    # With cells enough at a time, the longest way from a classifier to what it feeds is left.
    assert total_seconds(plan, costs, 100) == 40.0
    plan.find(RunKey("standard", "cls", 0)).state = CACHED
    assert total_seconds(plan, costs, 1) == 90.0


def test_published_weights_are_fetched_before_the_run(tmp_path, monkeypatch):
    weights = tmp_path / "weights" / "timm-net.tag.safetensors"
    row = replace(make_row("public", "timm:net.tag", weights=str(weights)), published=True)
    world = World(tmp_path, suite=make_suite((row,)))
    check_names(replace(world.suite, tasks={}), world.root)
    assert states(world)["public/det"] == (RUN, "its published weights are fetched first")
    asked = []

    def run(command, **_):
        asked.append(command[1:])
        weights.write_text("weights", encoding="utf-8")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    said: list[str] = []
    for _ in range(2):
        fetch_published(world.suite, world.root, said.append)
    assert asked == [
        ["-m", "backbones", "import", "timm:net.tag", "published", "--out", str(weights)]
    ]
    assert said == [f"Fetching the published weights of timm:net.tag into {weights}"]
    assert states(world)["public/det"] == (RUN, "not run yet")


def test_published_weights_that_cannot_be_had_stop_the_command(tmp_path, monkeypatch):
    row = replace(make_row("public", "timm:net", weights=str(tmp_path / "w" / "x")), published=True)
    answer = subprocess.CompletedProcess([], 2, "", "error: the weights cannot be had\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(UserError, match=r"^the weights cannot be had$"):
        fetch_published(make_suite((row,)), tmp_path, print)
