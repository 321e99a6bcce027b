"""A trained classifier as an ONNX file."""

import json

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import backbones
from cls_train.train import Classification
from engine.task import main
from export.onnx.cls import ClassifierExport
from export.onnx.command import main as export
from export.onnx.file import session


@pytest.fixture
def work_dir(image_folder, tiny_config, tmp_path, monkeypatch):
    """Six iterations with averaged weights."""
    # The trained weights are only in checkpoints of a run that is not finished.
    monkeypatch.setattr("engine.task.keep_the_network", lambda work_dir: None)
    words = [str(tiny_config), "--data", str(image_folder), "--work-dir", str(tmp_path / "cls")]
    words += ["--backbone", "resnet10_b-w8", "--trick", "ema", "--set", "epochs=1"]
    assert main(Classification(), words) == 0
    return tmp_path / "cls"


def test_file_has_evaluated_weights(work_dir, image_folder, tmp_path, capsys):
    out = tmp_path / "model.onnx"
    assert export([str(work_dir), "--out", str(out)], ClassifierExport()) == 0
    assert "varies: batch, height, width" in capsys.readouterr().out
    # The pretrained checkpoint holds the averaged network; everything else is done by hand.
    network, head, metadata = backbones.load_classifier(work_dir / "backbone.safetensors")
    assert metadata.weights == "ema"
    picture = Image.open(image_folder / "val" / "c1" / "2.png").convert("RGB").crop((0, 0, 31, 27))
    pixels = np.asarray(picture, np.float32)
    normalised = (pixels - np.array(metadata.mean, np.float32)) / np.array(metadata.std, np.float32)
    images = torch.from_numpy(normalised).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = head(network.eval()(images)[-1].mean((2, 3)))
    run = session(out)
    (found,) = run(np.asarray(picture).transpose(2, 0, 1)[None].copy())
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)
    trained = torch.load(work_dir / "epoch_1.pth", weights_only=False)["ema_state_dict"]
    with torch.no_grad():
        head.weight.copy_(trained["module.head.weight"])
        assert not torch.allclose(head(network(images)[-1].mean((2, 3))), expected, atol=1e-3)
    entries = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert json.loads(entries["classes"]) == ["c0", "c1", "c2"]
    assert json.loads(entries["mean_rgb"]) == [123.68, 116.779, 103.939]
    assert entries["spec"] == "resnet10_b-w8" and entries["input"].startswith("NCHW, RGB, uint8")
    assert len(entries["weights_sha256"]) == len(entries["handoff_sha256"]) == 64


def test_mistakes(work_dir, tmp_path, capsys):
    def refused(*words):
        assert export([str(word) for word in words], ClassifierExport()) == 2
        assert not list(tmp_path.glob("*.onnx"))
        return capsys.readouterr().err

    out = tmp_path / "model.onnx"
    assert "not the work dir of a finished run" in refused(tmp_path, "--out", out)
    assert "does not exist; make it" in refused(work_dir, "--out", tmp_path / "no" / "m.onnx")
    (tmp_path / "empty").mkdir()
    assert "holds no images" in refused(work_dir, "--out", out, "--images", tmp_path / "empty")
    moved = tmp_path / "moved.pth"
    (work_dir / "epoch_1.pth").rename(moved)
    assert "holds no whole checkpoint" in refused(work_dir, "--out", out)
    content = torch.load(moved, weights_only=False)
    content["meta"]["cfg"] = content["meta"]["cfg"].replace("/val'", "/gone'")
    torch.save(content, work_dir / "epoch_1.pth")
    assert "name a folder of images with --images" in refused(work_dir, "--out", out)
    result = json.loads((work_dir / "result.json").read_text())
    (work_dir / "result.json").write_text(json.dumps({**result, "stage": "seg"}))
    assert "use python -m seg.export" in refused(work_dir, "--out", out)
