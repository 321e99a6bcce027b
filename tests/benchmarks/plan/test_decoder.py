"""The decoder of training images: measured once per hardware, and part of a classification run's identity."""

from __future__ import annotations

import pytest
from support.world import World, answer, forget_digests, make_root

from benchmarks.commands.on_cluster import _decoder_of_jobs
from benchmarks.plan import identity
from benchmarks.plan.compute import Compute, find_compute
from benchmarks.plan.store import RunKey
from benchmarks.run.command import task_command

CLS, DET = RunKey("standard", "cls", 0), RunKey("scratch", "det", 0)


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def _plan(world, device, **options):
    world.compute = Compute(device, answer([])["dtypes"], **options)
    return world.plan()


def test_runs_on_a_cpu_do_not_name_it(world):
    for plan in (_plan(world, "cpu"), _plan(world, "cpu", decoder="cuda")):
        for run in plan.runs:
            assert run.components is None or "decoder" not in run.components
            assert "--decoder" not in task_command(plan, run)


def test_identity_and_command_of_runs_on_a_gpu(world):
    found = {name: _plan(world, "cuda", decoder=name) for name in ("turbo", "cuda")}
    components = {name: plan.find(CLS).components for name, plan in found.items()}
    assert "decoder" not in components["turbo"]
    assert components["cuda"] == {**components["turbo"], "decoder": "cuda"}
    assert found["cuda"].find(CLS).identity != found["turbo"].find(CLS).identity
    assert found["cuda"].find(DET).identity == found["turbo"].find(DET).identity
    for name, plan in found.items():
        words = task_command(plan, plan.find(CLS))
        assert words[words.index("--decoder") + 1] == name
        assert "--decoder" not in task_command(plan, plan.find(DET))
    sentence = "the decoder of training images differs (turbo → cuda)"
    assert identity.explain(components["turbo"], components["cuda"]) == sentence


def _gpu(name, decoder):
    gpus = [{"id": "0", "name": name, "left_out": None}]
    return lambda specs: {**answer(specs), "device": "cuda", "gpus": gpus, "decoder": decoder}


def test_first_measurement_on_a_hardware_is_kept(tmp_path):
    """A second one could choose otherwise by chance, and all runs would be trained again."""
    root = make_root(tmp_path)
    asked = [("A100", "cuda"), ("A100", "turbo"), ("T4", "turbo"), ("A100", "turbo")]
    found = []
    for number, (name, decoder) in enumerate(asked):
        forget_digests()
        specs = [f"resnet{number}"]
        found.append(find_compute(specs, root, root, _gpu(name, decoder)).decoder)
    assert found == ["cuda", "cuda", "turbo", "cuda"]
    # Known backbones ask nothing.
    assert find_compute(["resnet0"], root, root, None).decoder == "cuda"


def test_cpu_of_a_machine_with_a_gpu(tmp_path):
    root = make_root(tmp_path)
    assert find_compute(["resnet1"], root, root, answer).decoder == "turbo"


def test_submission_takes_the_decoder_of_earlier_jobs(world, monkeypatch):
    plan = _plan(world, "cpu")
    assert _decoder_of_jobs(plan) == "turbo"
    recorded = {"components": {"device": "cuda", "decoder": "cuda"}}
    monkeypatch.setattr("benchmarks.commands.on_cluster.run_file", lambda folder: recorded)
    assert _decoder_of_jobs(plan) == "cuda"
