"""The ONNX file is kept only if it agrees with torch."""

import json
import signal
import sys

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from contract.errors import UserError
from export.onnx import file
from export.onnx.file import ExportSpec, _batches, relative, session, write
from export.onnx.preprocessing import Normalise

IMAGES = [torch.randint(0, 256, (1, 3, 12, 14), dtype=torch.uint8) for _ in range(2)]
ALL = (("batch", "height", "width"), ())


class Means(nn.Module):
    def __init__(self, factor=1.0):
        super().__init__()
        self.normalise = Normalise(
            torch.tensor([1.0, 2.0, 3.0])[:, None, None],
            torch.tensor([4.0, 5.0, 6.0])[:, None, None],
            "BGR",
        )
        self.factor = factor

    def forward(self, images):
        return (self.normalise(images).mean(dim=(2, 3)) * self.factor,)


class FixedSize(Means):
    """Correct only for images of 12 pixels' height, like a trace with a constant."""

    def forward(self, images):
        return (self.normalise(images).sum(dim=(2, 3)) / (12 * images.shape[3]),)


def by_hand(images):
    """(x_B − 1) / 4, (x_G − 2) / 5, (x_R − 3) / 6, in this order, averaged."""
    bgr = images.numpy().astype(np.float64)[:, ::-1].mean(axis=(2, 3))
    return (((bgr - [1, 2, 3]) / [4, 5, 6]).astype(np.float32),)


def network(graph, **metadata):
    return ExportSpec(
        graph,
        ("means",),
        by_hand,
        lambda expected, found: [relative("means", expected[0], found[0])],
        dynamic=ALL,
        metadata=metadata,
    )


def test_valid_graph_is_written_with_metadata(tmp_path):
    path = tmp_path / "model.onnx"
    written = write(network(Means(), classes=["a", "b"], spec="net"), IMAGES, path)
    assert written.dynamic == ("batch", "height", "width") and written.notes == ()
    assert {shape[0] for shape in written.shapes} == {1, 2}
    assert len({shape[2:] for shape in written.shapes}) == 2
    model = onnx.load(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["spec"] == "net" and json.loads(metadata["classes"]) == ["a", "b"]
    assert json.loads(metadata["dynamic_axes"]) == ["batch", "height", "width"]
    (images,) = model.graph.input
    axes = [axis.dim_param or axis.dim_value for axis in images.type.tensor_type.shape.dim]
    assert axes == ["batch", 3, "height", "width"]
    assert images.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    other = torch.randint(0, 256, (3, 3, 5, 31), dtype=torch.uint8)
    np.testing.assert_allclose(session(path)(other.numpy())[0], by_hand(other)[0], rtol=1e-5)


def test_wrong_graph_leaves_no_file(tmp_path):
    with pytest.raises(UserError) as raised:
        write(network(Means(factor=1.01)), IMAGES, tmp_path / "model.onnx")
    assert "onnxruntime and torch differ by 0.01 in means on images of" in str(raised.value)
    assert "at most 0.001 is allowed" in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_fixed_axes_are_found_and_reported(tmp_path):
    written = write(network(FixedSize()), IMAGES, tmp_path / "model.onnx")
    assert written.dynamic == () and set(written.shapes) == {(1, 3, 12, 14)}
    assert len(written.notes) == 1
    assert written.notes[0].startswith("with varying batch, height, width: onnxruntime and torch")


def test_batches_vary_each_axis():
    big, small = torch.zeros(1, 3, 64, 96), torch.zeros(1, 3, 64, 80)
    shapes = [tuple(b.shape) for b in _batches([big, small], ("batch", "height", "width"))]
    assert shapes[0] == (2, 3, 64, 80), "the export's example, of which no axis is 1"
    assert (1, 3, 51, 73) in shapes
    assert [tuple(b.shape) for b in _batches([big, small], ())] == [(1, 3, 64, 96)]


def test_differences_are_relative_and_cover_shapes_and_nan():
    expected = np.array([0.0, 20.0])
    assert relative("x", expected, expected + 0.01).value == pytest.approx(5e-4)
    assert not relative("x", expected, expected[:1]).agrees
    assert not relative("x", expected, np.array([0.0, np.nan])).agrees


def test_missing_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"onnxruntime is missing.*pip install -e '\.\[export\]'"):
        write(network(Means()), IMAGES, tmp_path / "model.onnx")


class Endless(Means):
    """Never finishes with varying sizes, like torch with size-dependent padding."""

    def forward(self, images):
        while not isinstance(images.shape[2], int):
            pass
        return super().forward(images)


def test_slow_attempt_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "MOST_SECONDS", 1.0)
    before = signal.getsignal(signal.SIGALRM)
    written = write(network(Endless()), IMAGES, tmp_path / "model.onnx")
    assert written.dynamic == ()
    assert written.notes == ("with varying batch, height, width: torch took more than 1 s",)
    assert signal.getsignal(signal.SIGALRM) is before
