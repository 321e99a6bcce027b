"""Run folders from before there was a store, and folders without one."""

from __future__ import annotations

import shutil

from support.store_view import run_states, stored_files
from support.world import (
    ROWS,
    World,
    make_suite,
)

from benchmarks.plan.plan import CACHED as DONE
from benchmarks.plan.store import identity_in
from benchmarks.run.runner import CACHED, COMPLETED
from contract.files import write_json


def _age(world: World) -> None:
    """Turn a run folder into one from before there was a store."""
    for view in world.run_dir.glob("cells/*/*/seed-*"):
        stored = world.folder / "store" / str(identity_in(view))
        shutil.rmtree(view)
        shutil.copytree(stored, view)
        (view / "run.json").rename(view / "cell.json")
    shutil.rmtree(world.folder / "store")


def test_finished_work_moves_into_store(tmp_path):
    world = World(tmp_path)
    world.run()
    _age(world)
    world.journal.unlink()
    assert {run.state for run in world.plan().runs} == {DONE}
    assert {outcome.status for outcome in world.run().values()} == {CACHED}
    assert world.journal_lines() == []
    assert (world.stored("standard/cls") / "epoch_1.pth").is_file()
    assert set(run_states(world).values()) == {"completed"}


def test_work_of_other_settings_keeps_identity(tmp_path):
    world = World(tmp_path)
    world.run()
    old = str(identity_in(world.view("scratch/seg")))
    before = stored_files(world.stored("scratch/seg"))
    _age(world)
    world.edit("seg/configs/mini.py", "_base_ = 'mmseg::fcn/fcn.py'\nlr = 2\n")
    assert world.run()["scratch/seg"].status == COMPLETED
    assert stored_files(tmp_path / "store" / old) == before
    assert not (world.run_dir / "stale").exists()


def test_files_without_identity_become_stale(tmp_path):
    world = World(tmp_path, suite=make_suite((ROWS[0],)))
    folder = world.view("scratch/seg")
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    write_json(folder / "cell.json", {"command": []})
    assert world.run()["scratch/seg"].status == COMPLETED
    [kept] = (world.run_dir / "stale").glob("*/scratch/seg/seed-0/notes.txt")
    assert kept.read_text(encoding="utf-8") == "mine"


def test_moved_run_folder_without_store(tmp_path):
    world = World(tmp_path)
    world.run()
    shutil.rmtree(tmp_path / "store")
    world.journal.unlink()
    assert {outcome.status for outcome in world.run().values()} == {CACHED}
    assert world.journal_lines() == []
    assert (world.stored("tricks/det") / "result.json").is_file()
