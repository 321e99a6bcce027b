"""Runs read the listing of the dataset that their command stored."""

import os

from support.world import World

from benchmarks.commands.request import Request
from benchmarks.plan.preflight import glance_at_data
from benchmarks.run.place import environment
from benchmarks.suite.model import Dataset
from datasets.listing import of_run


def test_runs_get_the_listings_of_the_command(tmp_path, monkeypatch):
    root = tmp_path / "images"
    for split in ("train", "val"):
        (root / split / "a").mkdir(parents=True)
        (root / split / "a" / "one.jpg").write_bytes(b"x")
    for folder in (root, *root.rglob("*")):
        os.utime(folder, (1e9, 1e9))
    plan = World(tmp_path / "world").plan()
    request = Request(plan.suite, plan.selection, plan.run_dir, plan.root)
    glance_at_data(Dataset(kind="imagefolder", path=root), request.cache)
    assert of_run("imagefolder", root) is None
    for name, value in environment(plan, 1, None).items():
        monkeypatch.setenv(name, value)
    found = of_run("imagefolder", root)
    assert found is not None
    assert list(found.names) == ["train/a/one.jpg", "val/a/one.jpg"]
