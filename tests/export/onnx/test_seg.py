"""A trained segmentor as an ONNX file."""

import json

import numpy as np
import onnx
import torch
from PIL import Image

from export.onnx.command import main as export
from export.onnx.file import session
from export.onnx.seg import SegmentorExport, compare


def test_file_matches_evaluated_network(
    tiny_ade, tmp_path, run_seg, checkpoint, capsys, monkeypatch
):
    # The trained weights are only in checkpoints of a run that is not finished.
    monkeypatch.setattr("engine.task.keep_the_network", lambda work_dir: None)
    work, out = tmp_path / "seg", tmp_path / "model.onnx"
    options = ("--checkpoint", checkpoint, "--trick", "ema", "--trick", "sliding")
    assert run_seg(tiny_ade.root, work, *options) == 0
    capsys.readouterr()
    assert export([str(work), "--out", str(out), "--input", "float32"], SegmentorExport()) == 0
    output = capsys.readouterr().out
    assert "varies: batch, height, width" in output
    assert "evaluated in sliding windows of (128, 128)" in output
    # The file holds the averaged weights, not the trained ones.
    stored = torch.load(work / "iter_2.pth", weights_only=False)
    name = "decode_head.conv_seg.bias"
    model = onnx.load(out)
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    biases = [array for array in arrays if array.shape == (3,)]
    assert any(np.array_equal(b, stored["state_dict"][name].numpy()) for b in biases)
    trained = stored["ema_state_dict"][f"module.{name}"].numpy()
    assert not any(np.array_equal(b, trained) for b in biases)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(entries["classes"]) == ["sky", "tree", "road"]
    # The checkpoint's channels are BGR: the mean of red is the last.
    assert json.loads(entries["mean_rgb"]) == [103.0, 102.0, 101.0]
    assert entries["network_channel_order"] == "BGR"
    images = np.asarray(Image.open(tiny_ade.image("validation", "004")), np.float32)
    batch = np.stack([images.transpose(2, 0, 1), images.transpose(2, 0, 1)[:, ::-1]])
    logits, labels = session(out)(batch)
    assert logits.shape == (2, 3, 64, 64) and labels.shape == (2, 64, 64)
    assert np.array_equal(labels, logits.argmax(1))


def test_tied_labels_are_equal():
    logits = np.array([3.0, 3.0, 1.0], np.float32).reshape(1, 3, 1, 1)
    for label, agrees in ((0, True), (1, True), (2, False)):
        differences = compare((logits, None), (logits, np.full((1, 1, 1), label)))
        assert [d.agrees for d in differences] == [True, agrees]
