"""Checks of weights and names before any training."""

import subprocess

import pytest
from support.world import World, make_row, make_suite

from benchmarks.plan.plan import RUN
from benchmarks.plan.preflight import check_names, fetch_published
from benchmarks.suite.model import replace
from contract.errors import UserError


def states(world: World) -> dict[str, tuple[str, str]]:
    return {f"{r.key.row}/{r.key.task}": (r.state, r.reason) for r in world.plan().runs}


def test_published_weights_are_fetched_first(tmp_path, monkeypatch):
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
        fetch_published(world.suite.rows, world.root, said.append)
    assert asked == [
        ["-m", "backbones", "import", "timm:net.tag", "published", "--out", str(weights)]
    ]
    assert said == [f"Fetching the published weights of timm:net.tag into {weights}"]
    assert states(world)["public/det"] == (RUN, "not run yet")


def test_unavailable_weights_stop_command(tmp_path, monkeypatch):
    row = replace(make_row("public", "timm:net", weights=str(tmp_path / "w" / "x")), published=True)
    answer = subprocess.CompletedProcess([], 2, "", "error: the weights cannot be had\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(UserError, match=r"^the weights cannot be had$"):
        fetch_published([row], tmp_path, print)


def test_weights_of_skipped_rows_may_be_missing(tmp_path):
    rows = tuple(make_row(name, "x", weights=str(tmp_path / name)) for name in ("a", "b"))
    suite = replace(make_suite(rows), tasks={})
    with pytest.raises(UserError, match="row 'a': there is no checkpoint"):
        check_names(suite, tmp_path)
    check_names(suite, tmp_path, [])
    (tmp_path / "a").write_text("weights", encoding="utf-8")
    world = World(tmp_path, suite=make_suite(rows))
    assert states(world)["a/det"] == (RUN, "not run yet")
    assert states(world)["b/det"] == (RUN, f"there is no checkpoint {tmp_path / 'b'}")
