"""Example pictures: the chosen images, and the arrangement of the parts."""

from types import MappingProxyType, SimpleNamespace

import pytest
from PIL import Image

from engine.dense.pictures import GAP, side_by_side, write_examples


class Network:
    """Returns fixed samples, as a detector's or segmentor's `val_step` would."""

    def eval(self):
        self.evaluating = True

    def val_step(self, batch):
        assert self.evaluating
        return batch["sample"]


class Samples(list):
    """A dataset of fixed samples."""

    metainfo = MappingProxyType(dict(classes=("cat",)))


def _draw(image, sample, metainfo):
    assert metainfo == Samples.metainfo
    return [image, image]


@pytest.mark.parametrize(
    ("images", "count", "chosen"), [(2, 4, [0, 1]), (8, 4, [0, 2, 4, 6]), (3, 2, [0, 1])]
)
def test_images_are_evenly_spaced(tmp_path, images, count, chosen):
    samples = Samples()
    for number in range(images):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (90, 80), (30 * number, 0, 0)).save(path)
        samples.append({"sample": SimpleNamespace(img_path=str(path))})
    names = write_examples(Network(), samples, _draw, tmp_path / "out", count)
    assert names == [f"{number}.png" for number in range(len(chosen))]
    reds = [Image.open(tmp_path / "out" / name).getpixel((5, 5))[0] for name in names]
    assert reds == [30 * number for number in chosen]


def test_parts_are_side_by_side():
    sheet = side_by_side([Image.new("RGB", (10, 5), "red"), Image.new("RGB", (20, 5), "blue")])
    assert sheet.size == (10 + GAP + 20, 5)
    assert [sheet.getpixel((x, 2)) for x in (9, 10, 9 + GAP, 10 + GAP)] == [
        (255, 0, 0),
        (255, 255, 255),
        (255, 255, 255),
        (0, 0, 255),
    ]
