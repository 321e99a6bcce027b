"""The segmentation stage's command: what it leaves behind, and what it refuses."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import backbones
from backbones.checkpoint_file import write_file
from engine.adapter import TransferBackbone

DOCS = Path(__file__).parents[2] / "docs" / "architecture.md"
# Keys whose content is the stage's own.
FREE = {"protocol", "packages", "artifacts", "checkpoint", "identity", "recipe", "metrics"}


def _documented():
    """The example of result.json in the documentation, which is the schema."""
    return json.loads(re.search(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)[1])


def _assert_like(found, example, where="result"):
    assert type(found) is type(example), where
    if isinstance(example, dict):
        assert found.keys() == example.keys(), where
        for key in example.keys() - FREE:
            _assert_like(found[key], example[key], f"{where}.{key}")


def test_a_run_leaves_what_the_documentation_says(
    tiny_ade, tmp_path, run_seg, checkpoint, checkpoint_metadata
):
    work = tmp_path / "work"
    options = ("--checkpoint", checkpoint, "--identity", "abc123", "--data-fingerprint", "da7a")
    options = (*options, "--seed", 3)
    assert run_seg(tiny_ade.root, work, *options) == 0

    result = json.loads((work / "result.json").read_text())
    _assert_like(result, _documented())
    assert (result["schema_version"], result["status"], result["stage"]) == (1, "completed", "seg")
    assert (result["config"], result["budget"], result["seed"]) == ("mini", "smoke", 3)
    assert result["identity"] == "abc123"
    assert (result["recipe"], result["tricks"]) == (None, [])
    assert result["backbone"] == "resnet10_d-w8"
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert list(values) == ["pixacc", "miou", "macc"]
    for metric in result["metrics"]:
        assert metric == {
            "name": metric["name"],
            "value": metric["value"],
            "unit": "%",
            "higher_is_better": True,
        }
        assert isinstance(metric["value"], float) and 0 <= metric["value"] <= 100
    assert result["data"] == {
        "fingerprint": "da7a",
        "classes": 3,
        "train_images_total": 4,
        "train_images_used": 4,
        "test_images_total": 2,
        "test_images_used": 1,
        "notes": [],
    }
    assert all(isinstance(text, str) for text in result["protocol"].values())
    (logme, h_score) = result["transferability"]
    assert (logme.keys(), h_score["name"]) == ({"name", "value", "samples"}, "hscore")
    assert logme["samples"] == h_score["samples"] >= 20

    with safe_open(checkpoint, "pt") as file:
        count = len(file.keys())
    source = {**vars(checkpoint_metadata), "tricks": ["cosine"]}
    # They are compared, not repeated.
    del source["features"]
    assert result["checkpoint"] == {
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "matched": count,
        "total": count,
        "feature_error": 0.0,
        "source": json.loads(json.dumps(source)),
    }

    curves = json.loads((work / "curves.json").read_text())
    assert [point.keys() for point in curves["train"]] == [{"step", "epoch", "loss", "lr"}] * 2
    # Two images an iteration, and four in the set.
    assert [(p["step"], p["epoch"]) for p in curves["train"]] == [(1, 0.5), (2, 1.0)]
    assert curves["val"] == [{"step": 2, "epoch": 1.0, **values}]
    evaluation = json.loads((work / "evaluation.json").read_text())
    matrix = np.array(evaluation["confusion"])
    assert values["pixacc"] == pytest.approx(100 * np.trace(matrix) / matrix.sum())

    assert result["artifacts"] == {
        "curves": "curves.json",
        "examples": ["examples/0.png"],
        "evaluation": "evaluation.json",
    }
    heights = [round(h * 240 / w) for w, h in [(64, 64)]]
    for name, height in zip(result["artifacts"]["examples"], heights, strict=True):
        with Image.open(work / name) as picture:
            assert (picture.format, picture.size) == ("PNG", (3 * 240 + 2 * 6, height))


def test_random_weights_have_no_receipt(tiny_ade, tmp_path, run_seg):
    work = tmp_path / "work"
    assert run_seg(tiny_ade.root, work, "--backbone", "resnet10_b-w8") == 0
    assert json.loads((work / "result.json").read_text())["checkpoint"] is None


@pytest.fixture
def refused(tiny_ade, tmp_path, run_seg, capsys):
    """Runs the stage, expects exit status 2 and no result, and returns the sentence."""

    def run(*options, data=None, budget="smoke", shows_tree=False):
        work = tmp_path / "work"
        status = run_seg(data or tiny_ade.root, work, *options, budget=budget)
        error = capsys.readouterr().err
        assert status == 2, error
        assert not (work / "result.json").exists()
        assert "Traceback" not in error
        sentence = error[error.index("error: ") + 7 :].strip()
        assert shows_tree or "\n" not in sentence
        return sentence

    return run


def _rewritten(path, metadata, change):
    tensors = backbones.create("resnet10_d-w8").state_dict()
    change(tensors)
    write_file(path, tensors, metadata)
    return path


def test_a_truncated_checkpoint(refused, checkpoint):
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    sentence = refused("--checkpoint", checkpoint)
    assert (
        f"{checkpoint} ({len(whole) // 2} bytes) is truncated, damaged, or not a safetensors"
        in sentence
    )
    assert sentence.endswith("copy it again from where it was written, or train it again")


def test_a_pickle(refused, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(backbones.create("resnet10_d-w8").state_dict(), path)
    assert (
        f"{path} is a pickle, as torch.save writes, and no hand-off checkpoint; make one"
        in refused("--checkpoint", path)
    )


def test_a_checkpoint_of_another_architecture(refused, checkpoint):
    sentence = refused("--checkpoint", checkpoint, "--backbone", "resnet18_b")
    assert (
        f"the checkpoint {checkpoint} holds resnet10_d-w8, the stage builds resnet18_b" in sentence
    )
    assert "pass --backbone resnet10_d-w8 or the right checkpoint" in sentence


def test_a_checkpoint_whose_tensors_all_fit_but_whose_network_is_another(
    refused, tmp_path, checkpoint_metadata
):
    from dataclasses import replace

    path = tmp_path / "plain.safetensors"
    metadata = replace(checkpoint_metadata, spec="resnet50")
    backbones.export_checkpoint(backbones.create("resnet50"), path, metadata)
    sentence = refused("--checkpoint", path, "--backbone", "resnet50_b")
    assert f"the checkpoint {path} holds resnet50, the stage builds resnet50_b" in sentence


def test_a_checkpoint_with_a_missing_tensor(refused, tmp_path, checkpoint_metadata):
    path = _rewritten(
        tmp_path / "less.safetensors", checkpoint_metadata, lambda t: t.pop("layer2.0.conv1.weight")
    )
    sentence = refused("--checkpoint", path)
    assert str(path) in sentence and "1 missing: layer2.0.conv1.weight" in sentence


def test_a_checkpoint_with_an_extra_tensor(refused, tmp_path, checkpoint_metadata):
    path = _rewritten(
        tmp_path / "more.safetensors",
        checkpoint_metadata,
        lambda t: t.update({"layer5.weight": torch.zeros(1)}),
    )
    sentence = refused("--checkpoint", path)
    assert str(path) in sentence and "1 unexpected: layer5.weight" in sentence


def test_a_checkpoint_with_a_tensor_of_another_shape(refused, tmp_path, checkpoint_metadata):
    path = _rewritten(
        tmp_path / "other.safetensors",
        checkpoint_metadata,
        lambda t: t.update({"bn1.weight": torch.ones(5)}),
    )
    sentence = refused("--checkpoint", path)
    assert (
        "1 of another shape or type: bn1.weight (file float32[5], backbone float32[8])" in sentence
    )


def test_weights_that_were_overwritten_while_building(refused, checkpoint, monkeypatch):
    def spoil(self):
        with torch.no_grad():
            self.net.layer3[0].conv1.weight[0, 0, 0, 0] += 1e-6

    monkeypatch.setattr(TransferBackbone, "init_weights", spoil, raising=False)
    sentence = refused("--checkpoint", checkpoint)
    assert (
        f"tensors of the built backbone differ from {checkpoint}: layer3.0.conv1.weight;"
        in sentence
    )


def test_a_truncated_image_read_by_a_loader_worker(refused, tiny_ade):
    for path in (tiny_ade.root / "images" / "training").iterdir():
        path.write_bytes(path.read_bytes()[:400])
    options = ("--backbone", "resnet10_b-w8", "--set", "train_dataloader.num_workers=1")
    sentence = refused(*options, budget="full")
    # Pillow's words depend on where the file ends.
    assert re.fullmatch(
        r"the image .*/training/00\d.jpg cannot be decoded \(.*(?i:truncated).*\); replace it, or take it out "
        "of the dataset",
        sentence,
    )


def test_a_label_outside_the_classes(refused, tiny_ade):
    for path in (tiny_ade.root / "annotations" / "training").iterdir():
        with Image.open(path) as image:
            image.point([0, 1, 2, 4] + [0] * 252).save(path)
    sentence = refused("--backbone", "resnet10_b-w8")
    assert re.search(
        r"the label map .*/training/00\d.png holds the value 4; allowed are 0 .* to 3", sentence
    )


def test_a_damaged_label_map_of_the_test_set(refused, tiny_ade):
    path = tiny_ade.label_map("validation", "004")
    path.write_bytes(path.read_bytes()[:60])
    assert f"the label map {path} cannot be decoded" in refused("--backbone", "resnet10_b-w8")


def test_a_missing_folder(refused, tmp_path):
    sentence = refused("--backbone", "resnet10_b-w8", data=tmp_path / "nowhere", shows_tree=True)
    nearest = f"The nearest existing folder is {tmp_path}"
    assert f"{tmp_path / 'nowhere'} does not exist. {nearest}" in sentence


def test_no_backbone(refused):
    assert refused() == (
        "no backbone was named; give --backbone SPEC (see python -m backbones) or --checkpoint FILE"
    )


@pytest.mark.parametrize(
    ("spec", "stride"), [("timm:mobilenetv3_small_050", 8), ("timm:densenet121", 16)]
)
def test_a_network_of_another_library_trains(tiny_ade, tmp_path, run_seg, capsys, spec, stride):
    work = tmp_path / "work"
    assert run_seg(tiny_ade.root, work, "--backbone", spec) == 0
    result = json.loads((work / "result.json").read_text())
    # What cannot keep to the config's stride of 8 is built at the next coarser one, and says so.
    assert result["protocol"]["backbone"].startswith(f"output stride {stride},")
    assert ("cannot be built at output stride 8" in capsys.readouterr().out) == (stride > 8)
