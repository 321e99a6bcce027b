"""Two processes under torchrun, on a CPU by gloo: the whole chain once more, at the smoke budget."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.processes import torchrun

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data" / "miniworld" / "mini-smoke"


@pytest.fixture(scope="module", autouse=True)
def data():
    # Earlier versions left it behind.
    shutil.rmtree(ROOT / ".dist_test", ignore_errors=True)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks",
            "data",
            "prepare",
            "miniworld",
            "--preset",
            "mini-smoke",
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )


def train(module, *arguments):
    done, _ = torchrun("-m", f"{module}.train", *arguments)
    return done


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A classifier that the harness trained in two processes."""
    folder = tmp_path_factory.mktemp("cls")
    words = "run mini --budget smoke --rows standard --tasks cls --set cls.epochs=2"
    command = [sys.executable, "-m", "benchmarks", *words.split(), "--run-dir", str(folder / "run")]
    done = subprocess.run(
        [*command, "--processes-per-run", "2"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run" / "cells" / "standard" / "cls" / "seed-0"


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


def test_classifier_trains_and_exports(classifier):
    result = result_of(classifier)
    assert not (ROOT / ".dist_test").exists(), "results went through the working directory"
    assert result["status"] == "completed"
    run = json.loads((classifier / "run.json").read_text())
    assert result["batch"]["processes"] == run["components"]["processes"] == 2
    assert result["identity"] == run["identity"]
    # All test images of the smoke budget were scored, each once.
    assert result["metrics"][0]["value"] in (0.0, 25.0, 50.0, 75.0, 100.0)
    weights = load_file(classifier / "backbone.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.parametrize(
    ("module", "folder"), [("det", "VOCdevkit"), ("seg", "ADEChallengeData2016")]
)
def test_weights_transfer_to_detection_and_segmentation(classifier, tmp_path, module, folder):
    done = train(
        module, "mini", "--checkpoint", classifier / "backbone.safetensors", "--budget", "smoke",
        "--data", DATA / folder, "--work-dir", tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (ROOT / ".dist_test").exists(), "results went through the working directory"
    report = result_of(tmp_path)["checkpoint"]
    assert report["matched"] == report["total"] > 0


def test_gradient_is_mean_over_processes(tmp_path):
    """All images have equal weight, and both processes continue with equal weights."""
    script = tmp_path / "step.py"
    script.write_text(STEP)
    done, _ = torchrun(script, tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    # The model is w·x with the loss mean(w·x): its gradient is the mean of all four inputs.
    assert torch.equal(first, second)
    assert first.item() == pytest.approx((1 + 2 + 30 + 40) / 4)


STEP = """
import sys, torch
from engine.runner.distributed import AnyDeviceDistributedDataParallel, join, leave
from torch import distributed
join("cpu")
rank = distributed.get_rank()
model = torch.nn.Linear(1, 1, bias=False)
wrapped = AnyDeviceDistributedDataParallel(model, device_ids=[rank])
inputs = torch.tensor([[[1.0], [2.0]], [[30.0], [40.0]]])[rank]
wrapped(inputs).mean().backward()
torch.save(model.weight.grad, f"{sys.argv[1]}/{rank}.pt")
leave()
"""


def test_more_processes_than_gpus(monkeypatch):
    from contract.errors import UserError
    from engine.runner import distributed

    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(
        UserError, match=r"4 processes were started on a machine that shows 2 GPU.*nproc_per_node 2"
    ):
        distributed.join("cuda")
