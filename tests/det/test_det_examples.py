"""Example pictures: the right image, boxes where they belong, and nothing below the threshold."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import InstanceData
from PIL import Image

from det.examples import write_examples
from engine.dense.pictures import colour

GREY = (128, 128, 128)


class Detector:
    """Gives out ready samples, as a detector's `val_step` would."""

    def eval(self):
        self.evaluating = True

    def val_step(self, batch):
        assert self.evaluating
        return batch["sample"]


def _sample(path, boxes, scores):
    count = len(boxes)
    found = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor([1] * count, dtype=torch.long),
        scores=torch.tensor(scores),
    )
    truth = InstanceData(bboxes=torch.tensor([[10.0, 40, 50, 70]]), labels=torch.tensor([0]))
    return {"sample": SimpleNamespace(pred_instances=found, gt_instances=truth, img_path=str(path))}


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    Image.new("RGB", (90, 80), GREY).save(path)
    return path


def test_boxes_lie_where_they_belong(tmp_path, image):
    sample = _sample(image, [[20, 30, 60, 70], [5, 5, 80, 75]], [0.30, 0.29])
    assert write_examples(Detector(), [sample], ("cat", "dog"), tmp_path / "out", 1) == ["0.png"]
    sheet = Image.open(tmp_path / "out" / "0.png").convert("RGB")
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


def test_nothing_found_is_a_picture_too(tmp_path, image):
    names = write_examples(
        Detector(), [_sample(image, [], [])], ("cat", "dog"), tmp_path / "out", 1
    )
    assert names == ["0.png"]


@pytest.mark.parametrize(
    ("images", "count", "chosen"), [(2, 4, [0, 1]), (8, 4, [0, 2, 4, 6]), (3, 2, [0, 1])]
)
def test_pictures_are_spread_over_the_set_and_none_comes_twice(tmp_path, images, count, chosen):
    samples = []
    for number in range(images):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (90, 80), (30 * number, 0, 0)).save(path)
        samples.append(_sample(path, [], []))
    names = write_examples(Detector(), samples, ("cat", "dog"), tmp_path / "out", count)
    reds = [Image.open(tmp_path / "out" / name).getpixel((5, 300))[0] for name in names]
    assert reds == [30 * number for number in chosen]
