"""Runs report to experiment trackers, without a network."""

import importlib.util
import json
import signal

import pytest
from support.stopping import stopped_run
from support.tasks import run_task

from cls_train.train import Classification
from contract.errors import UserError
from contract.trackers import TRACKERS, require_installed
from engine.cli import parse


def needs(package):
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason=f"the package {package} is not installed"
    )


@pytest.fixture
def start(image_folder, tiny_config, tmp_path, monkeypatch):
    """Train one epoch of six iterations; return the exit status."""
    monkeypatch.setattr("engine.measure.costs.SECONDS", 0)
    words = [
        "--backbone",
        "resnet10_b-w8",
        "--set",
        "epochs=2",
        "--tracker-run",
        "tiny/b/cls/seed-0",
    ]

    def run(*more):
        return run_task(
            Classification(), image_folder, tmp_path / "work", *words, *more,
            budget="full", config=str(tiny_config),
        )  # fmt: skip

    return run


@needs("tensorboard")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_has_losses_scores_and_the_result(start, tmp_path, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def run(*more):
        return start("--tracker", "tensorboard", *more)

    stopped_run(run, 8, number=signal.SIGTERM, resume=False, capsys=capsys)
    assert run("--resume") == 0
    found = EventAccumulator(str(tmp_path / "work" / "tensorboard")).Reload()
    # mmengine reports every 50 iterations and at the end of an epoch, validations by epoch.
    assert [event.step for event in found.Scalars("loss")] == [6, 12]
    assert len(found.Scalars("lr")) == 2
    assert [event.step for event in found.Scalars("top1")] == [1, 2]
    result = json.loads((tmp_path / "work" / "result.json").read_text())
    top1 = next(m["value"] for m in result["metrics"] if m["name"] == "top1")
    (event,) = found.Scalars("result/top1")
    assert event.value == pytest.approx(top1)
    (text,) = {
        event.tensor_proto.string_val[0].decode() for event in found.Tensors("run/text_summary")
    }
    assert "- backbone: resnet10_b-w8" in text
    assert str(tmp_path) not in text


@needs("wandb")
@pytest.mark.filterwarnings("ignore")
def test_wandb_is_offline_unless_asked(start, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert start("--tracker", "wandb") == 0
    assert list((tmp_path / "work" / "wandb").glob("offline-run-*/*.wandb"))


@needs("mlflow")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_goes_on_with_its_run(start, tmp_path, monkeypatch, capsys):
    import mlflow

    uri = f"sqlite:///{tmp_path}/runs.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    def run(*more):
        return start("--tracker", "mlflow", *more)

    stopped_run(run, 8, resume=False, capsys=capsys)
    assert run("--resume") == 0
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.data.tags["row"] == "b" and found.data.tags["seed"] == "seed-0"
    assert "result/top1" in found.data.metrics
    assert [m.step for m in client.get_metric_history(found.info.run_id, "loss")] == [6, 12]


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("contract.trackers.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"install it with pip install 'trickbench\[wandb\]'"):
        require_installed(["wandb"])
    require_installed([])


def test_options():
    entry = Classification().entry
    common = ["mini", "--data", "d", "--work-dir", "w"]
    options = parse("prog", [*common, *(f"--tracker={name}" for name in TRACKERS)], entry)
    assert options.trackers == TRACKERS
    with pytest.raises(UserError, match="unknown tracker 'tensorbord'; did you mean 'tensorboard'"):
        parse("prog", [*common, "--tracker", "tensorbord"], entry)
