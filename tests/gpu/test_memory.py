"""A device whose memory is full: the message names the key that helps."""

import pytest
import torch
from support.places import on, placed
from torch._subclasses.fake_tensor import FakeTensor

from cls_train.classifier import ImageClassifier
from cls_train.train import Classification
from engine.task import main

# More than any device has.
BYTES = 2**52


@pytest.mark.parametrize("place", [on("pretended"), on("cuda")])
def test_out_of_memory(place, image_folder, tiny_config, tmp_path, monkeypatch, capsys):
    forward = ImageClassifier.forward

    def fill(self, inputs, *args, **kwargs):
        # Memory is estimated beforehand, on tensors without any.
        if self.training and not isinstance(inputs, FakeTensor):
            torch.empty(BYTES, dtype=torch.uint8, device=inputs.device)
        return forward(self, inputs, *args, **kwargs)

    monkeypatch.setattr(ImageClassifier, "forward", fill)
    words = [str(tiny_config), "--data", str(image_folder), "--work-dir", str(tmp_path / "work")]
    with placed(place):
        status = main(Classification(), [*words, "--backbone", "resnet10_b-w8"])
    error = capsys.readouterr().err
    assert status == 2, error
    assert "in a pass of 8 images" in error and "device_batch_size=4" in error
    assert "Traceback" not in error
