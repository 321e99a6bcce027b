"""The detection stage's command: what it leaves behind, and what it refuses."""

import hashlib
import json
import re
from pathlib import Path

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
    tiny_voc, tmp_path, run_det, checkpoint, checkpoint_metadata
):
    work = tmp_path / "work"
    options = ("--checkpoint", checkpoint, "--identity", "abc123", "--data-fingerprint", "da7a")
    options = (*options, "--seed", 3)
    assert run_det(tiny_voc.root.parent, work, *options) == 0

    result = json.loads((work / "result.json").read_text())
    _assert_like(result, _documented())
    assert (result["schema_version"], result["status"], result["stage"]) == (1, "completed", "det")
    assert (result["config"], result["budget"], result["seed"]) == ("mini", "smoke", 3)
    assert result["identity"] == "abc123"
    assert (result["recipe"], result["tricks"]) == (None, [])
    assert result["backbone"] == "resnet10_d-w8"
    metric = result["metrics"][0]
    values = {entry["name"]: entry["value"] for entry in result["metrics"]}
    assert metric == {
        "name": "map",
        "value": metric["value"],
        "unit": "%",
        "higher_is_better": True,
    }
    assert 0 <= metric["value"] <= 100
    assert result["data"] == {
        "fingerprint": "da7a",
        "classes": 2,
        "train_images_total": 4,
        "train_images_used": 4,
        "test_images_total": 2,
        "test_images_used": 2,
        "notes": ["det transferability was not measured: 8 labelled samples are fewer than 20"],
    }
    assert all(isinstance(text, str) for text in result["protocol"].values())

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
    assert [(p["step"], p["epoch"]) for p in curves["train"]] == [(1, 0.5), (2, 1.0)]
    assert curves["val"] == [{"step": 2, "epoch": 1.0, **values}]
    assert [*values] == ["map", "voc07_map", "voc10_map", "coco_ap", "coco_ap50", "coco_ap75"]
    assert values["map"] == values["voc07_map"]
    evaluation = json.loads((work / "evaluation.json").read_text())
    assert [*evaluation["classes"]] == ["cat", "dog"]
    assert evaluation["images"] == 2

    assert result["artifacts"] == {
        "curves": "curves.json",
        "examples": ["examples/0.png", "examples/1.png"],
        "evaluation": "evaluation.json",
    }
    heights = [round(h * 360 / w) for w, h in [(64, 64), (90, 70)]]
    for name, height in zip(result["artifacts"]["examples"], heights, strict=True):
        with Image.open(work / name) as picture:
            assert (picture.format, picture.size) == ("PNG", (360 + 6 + 360, height))


def test_random_weights_have_no_receipt_and_what_was_mended_is_told(tiny_voc, tmp_path, run_det):
    tiny_voc.add("001", (64, 96), [("cat", 8, 10, 40, 44), ("dog", 20, 10, 20, 30)])
    tiny_voc.add("005", (90, 70), [("cat", 8, 10, 40, 44), ("dog", 20, 10, 120, 30)])
    work = tmp_path / "work"
    assert run_det(tiny_voc.root.parent, work, "--backbone", "resnet10_b-w8") == 0
    result = json.loads((work / "result.json").read_text())
    assert result["checkpoint"] is None
    assert result["data"]["notes"] == [
        "det training set: 1 of 8 boxes have no area inside the image and were dropped (first: 001.xml)",
        "det test set: 1 of 4 boxes reach out of the image and were clipped (first: 005.xml)",
        "det transferability was not measured: 7 labelled samples are fewer than 20",
    ]


def test_a_user_s_own_set_without_classes_file(tmp_path, voc_tree, run_det):
    tree = voc_tree(tmp_path / "own")
    for name in "abcd":
        tree.add(name, (64, 64), [("zebra", 5, 5, 40, 40)])
    tree.split("train", "abc").split("val", "d")
    assert run_det(tree.root, tmp_path / "work", "--backbone", "resnet10_b-w8") == 0
    assert json.loads((tmp_path / "work" / "result.json").read_text())["data"]["classes"] == 1


@pytest.fixture
def refused(tiny_voc, tmp_path, run_det, capsys):
    """Runs the stage, expects exit status 2 and no result, and returns the sentence."""

    def run(*options, data=None, budget="smoke", shows_tree=False):
        work = tmp_path / "work"
        status = run_det(data or tiny_voc.root.parent, work, *options, budget=budget)
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


def test_a_truncated_image_read_by_a_loader_worker(refused, tiny_voc):
    for path in (tiny_voc.root / "JPEGImages").iterdir():
        path.write_bytes(path.read_bytes()[:400])
    options = ("--backbone", "resnet10_b-w8", "--set", "train_dataloader.num_workers=1")
    sentence = refused(*options, budget="full")
    # Pillow's words depend on where the file ends.
    assert re.fullmatch(
        r"the image .*/JPEGImages/00\d.jpg cannot be decoded \(.*(?i:truncated).*\); replace it, or take it "
        "out of the dataset",
        sentence,
    )


def test_damaged_xml(refused, tiny_voc):
    path = tiny_voc.xml("002")
    path.write_text("<annotation>")
    assert f"the annotation {path} is not XML (no element found" in refused(
        "--backbone", "resnet10_b-w8"
    )


def test_a_missing_folder(refused, tmp_path):
    sentence = refused("--backbone", "resnet10_b-w8", data=tmp_path / "nowhere", shows_tree=True)
    assert (
        f"{tmp_path / 'nowhere'} does not exist. The nearest existing folder is {tmp_path}"
        in sentence
    )


def test_no_backbone(refused):
    assert refused() == (
        "no backbone was named; give --backbone SPEC (see python -m backbones) or --checkpoint FILE"
    )


def test_a_network_of_another_library_trains(tiny_voc, tmp_path, run_det):
    work = tmp_path / "work"
    assert run_det(tiny_voc.root.parent, work, "--backbone", "timm:mobilenetv3_small_050") == 0
    result = json.loads((work / "result.json").read_text())
    assert result["backbone"] == "timm:mobilenetv3_small_050"
    assert result["protocol"]["backbone"].endswith("no frozen stages")
