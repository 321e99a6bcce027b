"""Example pictures: image, prediction and truth of the right image, in the classes' colours."""

from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from engine.dense.pictures import side_by_side
from seg.examples import draw_label_maps

PALETTE = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]


def _sample(predicted, true):
    def field(labels):
        return SimpleNamespace(data=torch.from_numpy(np.asarray(labels))[None])

    return SimpleNamespace(pred_sem_seg=field(predicted), gt_sem_seg=field(true))


def test_image_prediction_and_truth_side_by_side():
    predicted, true = np.ones((40, 60), np.int64), np.full((40, 60), 2, np.int64)
    predicted[:, :30] = 0
    true[20:] = 255
    image = Image.new("RGB", (60, 40), (0, 77, 77))
    sheet = side_by_side(draw_label_maps(image, _sample(predicted, true), {"palette": PALETTE}))
    # Three pictures of 240 px with gaps of 6, four times as large as the image.
    assert sheet.size == (3 * 240 + 2 * 6, 160)
    assert sheet.getpixel((239, 159)) == (0, 77, 77)
    assert sheet.getpixel((243, 80)) == (255, 255, 255)
    assert sheet.getpixel((246 + 119, 80)) == PALETTE[0]
    assert sheet.getpixel((246 + 120, 80)) == PALETTE[1]
    assert sheet.getpixel((492 + 100, 79)) == PALETTE[2]
    assert sheet.getpixel((492 + 100, 80)) == (0, 0, 0)
