"""Measuring the steps of a plan with fake tasks: what is asked, and what is kept."""

from __future__ import annotations

import dataclasses
import json

import pytest
from support.measured import FACTS, TRIAL
from support.world import World, forget_digests, make_row, make_suite

from benchmarks.plan.estimate import MEASURED, estimates, measurements_of
from benchmarks.plan.machine import Slots
from benchmarks.plan.preflight import DataState
from benchmarks.plan.store import RunKey
from benchmarks.run import measure as module
from benchmarks.run.measure import measure
from benchmarks.suite.model import replace
from contract.files import write_json

TASK = """
import json, pathlib, sys
folder = pathlib.Path({folder!r})
words = sys.argv[1:]
with open(folder / "asked.txt", "a") as file:
    file.write(json.dumps(words) + "\\n")
answers = json.loads((folder / "answers.json").read_text())
if words[0] == "--schedules":
    requests = json.loads(pathlib.Path(words[1]).read_text())
    with open(folder / "requests.txt", "a") as file:
        file.writelines(json.dumps(request) + "\\n" for request in requests)
    facts = [dict(answers["facts"], signature=r[r.index("--backbone") + 1]) for r in requests]
    pathlib.Path(words[2]).write_text(json.dumps(dict(answers=facts)))
elif words[words.index("--backbone") + 1] == answers.get("fails"):
    sys.exit("error: the network is too large")
else:
    pathlib.Path(words[words.index("--measure") + 1]).write_text(json.dumps(answers["trial"]))
"""


@pytest.fixture
def world(tmp_path) -> World:
    world = World(tmp_path)
    fake_tasks(world)
    return world


def fake_tasks(world: World, **answers: str) -> None:
    for folder in ("cls_train", "det", "seg"):
        world.edit(f"{folder}/train.py", TASK.format(folder=str(world.folder)))
    write_json(world.folder / "answers.json", {"facts": FACTS, "trial": TRIAL, **answers})
    forget_digests()


def measure_all(world: World, jobs: int = 2, **options: bool) -> list[str]:
    plan, said = world.plan(), []
    threads = measurements_of(plan).hardware.threads
    slots = Slots(jobs, threads, (), "test")
    measure(plan, slots, measurements_of(plan, threads), said.append, **options)
    return said


def asked(world: World, name: str = "asked.txt") -> list[list[str]]:
    path = world.folder / name
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [json.loads(line) for line in lines]


def test_measures_each_kind_of_step_once(world):
    said = measure_all(world)
    trials = [words for words in asked(world) if "--measure" in words]
    # Two classifiers, two detectors and two segmentors; the rows `scratch` and `standard` have the same network.
    assert len(trials) == 6
    assert any(
        line.startswith("Measuring 6 kinds of step (2 at a time), about 1 min 15 s")
        for line in said
    )
    assert sum("resnet10_d · detection: 2.0 images/s" in line for line in said) == 1
    assert {found.source for found in estimates(world.plan()).values()} == {MEASURED}
    for words in trials:
        assert not {"--identity", "--data-fingerprint", "--checkpoint", "--seed"} & set(words)
    assert measure_all(world) == []
    assert asked(world) == []
    measure_all(world, again=True)
    assert sum("--measure" in words for words in asked(world)) == 6


def test_failed_measurement_stops_no_other(world):
    fake_tasks(world, fails="resnet10_d")
    said = measure_all(world)
    failed = [line for line in said if "could not be measured" in line]
    assert len(failed) == 3
    assert all(line.endswith("could not be measured: the network is too large") for line in failed)
    sources = [estimate.source for estimate in estimates(world.plan()).values()]
    assert sources.count(MEASURED) == 5


def test_what_was_measured_is_kept_after_an_interruption(world, monkeypatch):
    keep = module.Measurements.keep_trial
    kept = []

    def keep_two(self, run, trial):
        if len(kept) == 2:
            raise KeyboardInterrupt
        keep(self, run, trial)
        kept.append(run.key)

    monkeypatch.setattr(module.Measurements, "keep_trial", keep_two)
    with pytest.raises(KeyboardInterrupt):
        measure_all(world, jobs=1)
    monkeypatch.undo()
    asked(world)
    measure_all(world)
    assert sum("--measure" in words for words in asked(world)) == 4


def test_run_of_several_processes_is_measured_in_one(world):
    world.selection = dataclasses.replace(
        world.selection, processes=2, gloo=True, trackers=("tensorboard",)
    )
    measure_all(world)
    trials = [words for words in asked(world) if "--measure" in words]
    assert len(trials) == 6
    assert all(words[0].endswith(".py") for words in trials)
    assert not any(
        {"--tracker", "--tracker-run", "--nproc_per_node"} & set(words) for words in trials
    )


def test_teacher_is_measured_and_need_not_exist(tmp_path):
    teacher = make_row("large", "resnet50_d", recipe="standard")
    student = make_row("small", "resnet10_d", recipe="standard", teacher="large")
    world = World(tmp_path, suite=replace(make_suite((student,)), teachers=(teacher,)))
    world.selection = dataclasses.replace(world.selection, tasks=("cls",))
    fake_tasks(world)
    measure_all(world)
    requests = asked(world, "requests.txt")
    teachers = ["--teacher" in words for words in requests]
    assert sorted(teachers) == [False, True]
    assert estimates(world.plan())[RunKey("small", "cls", 0)].source == MEASURED


def test_generated_images_stand_for_missing_data(world, monkeypatch):
    prepared = []

    def prepare(preset, root):
        prepared.append((preset, root))
        return root / preset

    monkeypatch.setattr(module.miniworld, "prepare", prepare)
    world.data["det"] = DataState(world.folder / "absent", None, "the folder does not exist")
    measure_all(world)
    folders = {words[words.index("--data") + 1] for words in asked(world) if "--measure" in words}
    stand_in = world.root / "data" / "miniworld" / "fullsize-smoke" / "VOCdevkit"
    assert folders == {"/data/cls", str(stand_in), "/data/seg"}
    assert prepared == [("fullsize-smoke", world.root / "data" / "miniworld")] * len(prepared)
