"""Example pictures: the right image, boxes where they belong, and nothing below the threshold."""

from types import SimpleNamespace

import torch
from mmengine.structures import InstanceData
from PIL import Image

from det.examples import draw_detections
from engine.dense.pictures import colour, side_by_side

GREY = (128, 128, 128)


def _sample(boxes, scores):
    count = len(boxes)
    found = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor([1] * count, dtype=torch.long),
        scores=torch.tensor(scores),
    )
    truth = InstanceData(bboxes=torch.tensor([[10.0, 40, 50, 70]]), labels=torch.tensor([0]))
    return SimpleNamespace(pred_instances=found, gt_instances=truth)


def _sheet(sample):
    image = Image.new("RGB", (90, 80), GREY)
    return side_by_side(draw_detections(image, sample, {"classes": ("cat", "dog")}))


def test_boxes_lie_where_they_belong():
    sheet = _sheet(_sample([[20, 30, 60, 70], [5, 5, 80, 75]], [0.30, 0.29]))
    # Two pictures of 360 px with a gap of 6, four times as large as the image.
    assert sheet.size == (360 + 6 + 360, 320)
    assert sheet.getpixel((240, 200)) == colour(1)  # right edge of the detection
    assert sheet.getpixel((160, 280)) == colour(1)  # its lower edge
    assert sheet.getpixel((320, 200)) == GREY  # right edge of the one with too low a score
    right = 366
    assert sheet.getpixel((right + 200, 200)) == colour(0)
    assert sheet.getpixel((right + 120, 280)) == colour(0)
    assert sheet.getpixel((right + 240, 200)) == GREY
    assert sheet.getpixel((363, 100)) == (255, 255, 255)


def test_picture_without_detections():
    assert _sheet(_sample([], [])).size == (360 + 6 + 360, 320)
