"""Example pictures: image, prediction and truth of the right image, in the classes' colours."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from seg.examples import write_examples

PALETTE = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]


class Segmentor:
    """Gives out ready samples, as a segmentor's `val_step` would."""

    def eval(self):
        self.evaluating = True

    def val_step(self, batch):
        assert self.evaluating
        return batch["sample"]


def _sample(path, predicted, true):
    def field(labels):
        return SimpleNamespace(data=torch.from_numpy(np.asarray(labels))[None])

    sample = SimpleNamespace(
        pred_sem_seg=field(predicted), gt_sem_seg=field(true), img_path=str(path)
    )
    return {"sample": sample}


def _image(folder, number=0):
    path = folder / f"{number}.png"
    Image.new("RGB", (60, 40), (30 * number, 77, 77)).save(path)
    return path


def test_image_prediction_and_truth_stand_side_by_side(tmp_path):
    predicted, true = np.ones((40, 60), np.int64), np.full((40, 60), 2, np.int64)
    predicted[:, :30] = 0
    true[20:] = 255
    sample = _sample(_image(tmp_path), predicted, true)
    assert write_examples(Segmentor(), [sample], PALETTE, tmp_path / "out", 1) == ["0.png"]
    with Image.open(tmp_path / "out" / "0.png") as sheet:
        # Three pictures of 240 px with gaps of 6, four times as large as the image.
        assert sheet.size == (3 * 240 + 2 * 6, 160)
        assert sheet.getpixel((239, 159)) == (0, 77, 77)
        assert sheet.getpixel((243, 80)) == (255, 255, 255)
        assert sheet.getpixel((246 + 119, 80)) == PALETTE[0]
        assert sheet.getpixel((246 + 120, 80)) == PALETTE[1]
        assert sheet.getpixel((492 + 100, 79)) == PALETTE[2]
        assert sheet.getpixel((492 + 100, 80)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("images", "count", "chosen"), [(2, 4, [0, 1]), (8, 4, [0, 2, 4, 6]), (3, 2, [0, 1])]
)
def test_pictures_are_spread_over_the_set_and_none_comes_twice(tmp_path, images, count, chosen):
    labels = np.zeros((40, 60), np.int64)
    samples = [_sample(_image(tmp_path, number), labels, labels) for number in range(images)]
    names = write_examples(Segmentor(), samples, PALETTE, tmp_path / "out", count)
    reds = []
    for name in names:
        with Image.open(tmp_path / "out" / name) as sheet:
            reds.append(sheet.getpixel((5, 5))[0])
    assert reds == [30 * number for number in chosen]
