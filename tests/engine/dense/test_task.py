"""The command of a dense task: its outputs and its errors."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from support.dense_world import result_of
from support.tasks import refusal_of

import backbones
from backbones.checkpoint.format import write_file
from contract.errors import UserError
from contract.tasks import TASKS
from engine.adapter import TransferBackbone

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "result.json"
# Keys with task-specific content.
FREE = {"protocol", "packages", "artifacts", "checkpoint", "identity", "recipe", "metrics"}
# The code is common, so one task is enough.
ONE = pytest.mark.parametrize("world", ["seg"], indirect=True)


def _documented():
    """Return the example of result.json in the documentation."""
    return json.loads(EXAMPLE.read_text(encoding="utf-8"))


def _assert_like(found, example, where="result"):
    assert type(found) is type(example), where
    if isinstance(example, dict):
        assert found.keys() == example.keys(), where
        for key in example.keys() - FREE:
            _assert_like(found[key], example[key], f"{where}.{key}")


def test_settings_of_the_gpu(world, tmp_path, checkpoint, capsys):
    # Crops of one size in segmentation, images of many sizes in detection.
    assert world.task.one_shape == (world.name == "seg")
    work = tmp_path / "work"
    assert world.run(work, "--checkpoint", checkpoint, "--deterministic") == 0
    line = "numerics:  TF32 off, cuDNN benchmark off, deterministic algorithms on\n"
    assert line in capsys.readouterr().out
    assert result_of(work)["numerics"] == dict(
        tf32=False, cudnn_benchmark=False, deterministic=True, nondeterministic=[]
    )


def test_result_fields(world, tmp_path, checkpoint, checkpoint_metadata):
    work = tmp_path / "work"
    options = ("--checkpoint", checkpoint, "--identity", "abc123", "--data-fingerprint", "da7a")
    assert world.run(work, *options, "--seed", 3) == 0

    result = result_of(work)
    _assert_like(result, _documented())
    assert (result["schema_version"], result["status"]) == (1, "completed")
    assert result["stage"] == world.name
    assert (result["config"], result["budget"], result["seed"]) == ("mini", "smoke", 3)
    assert result["identity"] == "abc123"
    assert (result["recipe"], result["tricks"]) == (None, [])
    assert result["backbone"] == "resnet10_d-w8"
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    known = [metric.name for metric in TASKS[world.name].metrics]
    assert list(values) == [name for name in known if not name.endswith("_ms")]
    for metric in result["metrics"]:
        assert metric == {
            "name": metric["name"],
            "value": metric["value"],
            "unit": "%",
            "higher_is_better": True,
        }
        assert isinstance(metric["value"], float) and 0 <= metric["value"] <= 100
    notes = result["data"].pop("notes")
    assert result["data"] == {
        "fingerprint": "da7a",
        "classes": len(world.classes),
        "train_images_total": 4,
        "train_images_used": 4,
        "test_images_total": 2,
        # seg's config tests one image in a smoke run.
        "test_images_used": 2 if world.name == "det" else 1,
    }
    if world.name == "det":
        few = "8 labelled samples are fewer than 20"
        assert notes == [f"det transferability was not measured: {few}"]
    else:
        assert notes == []
        (logme, h_score) = result["transferability"]
        assert (logme.keys(), h_score["name"]) == ({"name", "value", "samples"}, "hscore")
        assert logme["samples"] == h_score["samples"] >= 20
    assert all(isinstance(text, str) for text in result["protocol"].values())
    # A run without tricks names none.
    assert not {"tricks", "weights", "images"} & result["protocol"].keys()
    _assert_load_report(result, checkpoint, checkpoint_metadata)

    curves = json.loads((work / "curves.json").read_text())
    assert [point.keys() for point in curves["train"]] == [{"step", "epoch", "loss", "lr"}] * 2
    # Two images an iteration, and four in the set.
    assert [(p["step"], p["epoch"]) for p in curves["train"]] == [(1, 0.5), (2, 1.0)]
    assert curves["val"] == [{"step": 2, "epoch": 1.0, **values}]


def _assert_load_report(result, checkpoint, metadata):
    with safe_open(checkpoint, "pt") as file:
        count = len(file.keys())
    source = {**vars(metadata), "tricks": ["cosine"]}
    # They are compared, not repeated.
    del source["features"]
    assert result["checkpoint"] == {
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "matched": count,
        "total": count,
        "feature_error": 0.0,
        "source": json.loads(json.dumps(source)),
    }


def test_examples_and_evaluation(world, tmp_path):
    work = tmp_path / "work"
    options = ("--backbone", "resnet10_b-w8", "--set", "budgets={'smoke': {'test_images': 2}}")
    assert world.run(work, *options) == 0
    result = result_of(work)
    assert result["checkpoint"] is None
    assert result["artifacts"] == {
        "curves": "curves.json",
        "examples": ["examples/0.png", "examples/1.png"],
        "evaluation": "evaluation.json",
    }
    assert isinstance(json.loads((work / "evaluation.json").read_text()), dict)
    # Two pictures of 360 px, or three of 240, with gaps of 6.
    width, sheet = {"det": (360, 2 * 360 + 6), "seg": (240, 3 * 240 + 2 * 6)}[world.name]
    heights = [round(h * width / w) for w, h in [(64, 64), (90, 70)]]
    for name, height in zip(result["artifacts"]["examples"], heights, strict=True):
        with Image.open(work / name) as picture:
            assert (picture.format, picture.size) == ("PNG", (sheet, height))


@ONE
def test_checkpoint_is_read_once(world, tmp_path, checkpoint, monkeypatch):
    reads = []
    read_bytes = Path.read_bytes

    def counted(path):
        if path.suffix == ".safetensors":
            reads.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    assert world.run(tmp_path / "work", "--checkpoint", checkpoint) == 0
    # For its metadata, to load it, to compare the built model with it, and for its classifier.
    assert reads == [checkpoint]
    # The next run reads it again.
    assert world.run(tmp_path / "again", "--checkpoint", checkpoint) == 0
    assert reads == [checkpoint] * 2


@pytest.fixture
def refused(world, tmp_path, capsys):
    """Run the task, expect exit status 2 and no result, and return the message."""

    def run(*options, data=None, **shown):
        data, work_dir = data or world.data, tmp_path / "work"
        return refusal_of(world.task, data, work_dir, *options, capsys=capsys, **shown)

    return run


def test_missing_folder(refused, tmp_path):
    missing = tmp_path / "nowhere"
    sentence = refused("--backbone", "resnet10_b-w8", data=missing, shows_tree=True)
    nearest = f"The nearest existing folder is {tmp_path}"
    assert f"{missing} does not exist. {nearest}" in sentence


def _rewritten(path, metadata, change):
    tensors = backbones.create("resnet10_d-w8").state_dict()
    change(tensors)
    write_file(path, tensors, metadata)
    return path


@ONE
def test_truncated_checkpoint(refused, checkpoint):
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    sentence = refused("--checkpoint", checkpoint)
    damaged = "is truncated, damaged, or not a safetensors"
    assert f"{checkpoint} ({len(whole) // 2} bytes) {damaged}" in sentence
    assert sentence.endswith("copy it again from where it was written, or train it again")


@ONE
def test_pickle(refused, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(backbones.create("resnet10_d-w8").state_dict(), path)
    assert f"{path} is a pickle, as torch.save writes" in refused("--checkpoint", path)


def test_checkpoint_of_another_architecture(refused, checkpoint):
    sentence = refused("--checkpoint", checkpoint, "--backbone", "resnet18_b")
    assert f"the checkpoint {checkpoint} holds resnet10_d-w8, the " in sentence
    assert " builds resnet18_b" in sentence
    assert "pass --backbone resnet10_d-w8 or the right checkpoint" in sentence


@ONE
def test_fitting_tensors_of_another_network(refused, tmp_path, checkpoint_metadata):
    path = tmp_path / "plain.safetensors"
    metadata = replace(checkpoint_metadata, spec="resnet50")
    backbones.export_checkpoint(backbones.create("resnet50"), path, metadata)
    sentence = refused("--checkpoint", path, "--backbone", "resnet50_b")
    assert f"the checkpoint {path} holds resnet50, the " in sentence
    assert " builds resnet50_b" in sentence


@ONE
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: t.pop("layer2.0.conv1.weight"), "1 missing: layer2.0.conv1.weight"),
        (lambda t: t.update({"layer5.weight": torch.zeros(1)}), "1 unexpected: layer5.weight"),
        (
            lambda t: t.update({"bn1.weight": torch.ones(5)}),
            "1 of another shape or type: bn1.weight (file float32[5], backbone float32[8])",
        ),
    ],
)
def test_tensors_do_not_fit(refused, tmp_path, checkpoint_metadata, change, problem):
    path = _rewritten(tmp_path / "other.safetensors", checkpoint_metadata, change)
    sentence = refused("--checkpoint", path)
    assert str(path) in sentence and problem in sentence


def test_weights_overwritten_while_building(refused, checkpoint, monkeypatch):
    def spoil(self):
        with torch.no_grad():
            self.net.layer3[0].conv1.weight[0, 0, 0, 0] += 1e-6

    monkeypatch.setattr(TransferBackbone, "init_weights", spoil, raising=False)
    sentence = refused("--checkpoint", checkpoint)
    differs = f"tensors of the built backbone differ from {checkpoint}: layer3.0.conv1.weight;"
    assert differs in sentence


def test_truncated_image_in_a_loader_worker(refused, world):
    for path in world.train_images.iterdir():
        path.write_bytes(path.read_bytes()[:400])
    options = ("--backbone", "resnet10_b-w8", "--set", "train_dataloader.num_workers=1")
    sentence = refused(*options, budget="full")
    # Pillow's words depend on where the file ends.
    assert re.fullmatch(
        rf"the image .*/{world.train_images.name}/00\d.jpg cannot be decoded \(.*(?i:truncated).*\); replace it, or "
        "take it out of the dataset",
        sentence,
    )


def test_no_backbone(refused):
    assert refused() == (
        "no backbone was named; give --backbone SPEC (see python -m backbones) or --checkpoint FILE"
    )


def test_a_metric_that_is_no_number(world):
    task = world.task
    name = f"{task.name}/{task.entry.main_metric}"
    with pytest.raises(UserError) as error:
        task.metrics({name: float("nan")})
    assert str(error.value) == (
        f"the validation gave {task.entry.main.label} nan, so the network no longer predicts finite numbers; lower the "
        "learning rate, or lengthen the warm-up"
    )
