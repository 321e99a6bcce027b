"""From the file of a label map to the input of the loss, and invalid maps."""

import numpy as np
import pytest
from PIL import Image

from contract.errors import UserError
from seg.dataset import SegmentationDataset
from seg.labels import LoadLabels


@pytest.fixture
def load(tmp_path):
    """Write an array as a PNG, load it as a label map, and return the pipeline's data."""

    def run(array, num_classes=3, image_shape=None, mode=None):
        path = tmp_path / "map.png"
        image = Image.fromarray(np.asarray(array))
        (image.convert(mode) if mode else image).save(path)
        results = {
            "seg_map_path": str(path),
            "ori_shape": image_shape or np.asarray(array).shape[:2],
            "seg_fields": [],
        }
        return LoadLabels(num_classes=num_classes).transform(results)

    return run


def _refused(load, *arguments, **options):
    with pytest.raises(UserError) as error:
        load(*arguments, **options)
    return str(error.value)


def test_zero_is_ignored_and_one_is_class_zero(load):
    results = load(np.array([[0, 1, 2], [3, 255, 0]], np.uint8))
    assert results["gt_seg_map"].tolist() == [[255, 0, 1], [2, 255, 255]]
    assert results["gt_seg_map"].dtype == np.uint8
    assert results["seg_fields"] == ["gt_seg_map"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_bit_depth_is_irrelevant(load, dtype):
    assert load(np.array([[0, 1], [2, 3]], dtype))["gt_seg_map"].tolist() == [[255, 0], [1, 2]]


def test_palette_holds_labels_by_index(load, tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8))
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    path = tmp_path / "palette.png"
    image.save(path)
    results = {"seg_map_path": str(path), "ori_shape": (2, 2), "seg_fields": []}
    assert LoadLabels(3).transform(results)["gt_seg_map"].tolist() == [[255, 0], [1, 2]]


def test_stock_transform_matches_on_valid_maps(tmp_path):
    import mmseg.datasets.transforms.loading as stock

    array = np.random.default_rng(0).integers(0, 151, (20, 30)).astype(np.uint8)
    path = tmp_path / "map.png"
    Image.fromarray(array).save(path)
    shared = {"seg_map_path": str(path), "ori_shape": (20, 30), "reduce_zero_label": True}
    ours = LoadLabels(150).transform({**shared, "seg_fields": []})
    theirs = stock.LoadAnnotations().transform({**shared, "seg_fields": []})
    assert np.array_equal(ours["gt_seg_map"], theirs["gt_seg_map"])
    assert ours["gt_seg_map"].dtype == theirs["gt_seg_map"].dtype
    assert ours["seg_fields"] == theirs["seg_fields"]


@pytest.mark.parametrize("value", [4, 254])
def test_value_outside_classes(load, tmp_path, value):
    assert _refused(load, np.array([[0, 1], [value, 2]], np.uint8)) == (
        f"the label map {tmp_path / 'map.png'} holds the value {value}; allowed are 0 (ignored) to 3, the "
        "number of classes listed; fix the map, or complete the list of classes"
    )


def test_wide_value_that_wraps_into_a_class(load):
    assert "holds the value 258; allowed are 0 (ignored) to 3" in _refused(
        load, np.array([[1, 258]], np.uint16)
    )


def test_map_of_another_size(load, tmp_path):
    assert _refused(load, np.ones((4, 6), np.uint8), image_shape=(6, 4)) == (
        f"the label map {tmp_path / 'map.png'} has shape (4, 6), and its image is (6, 4); both need the same "
        "height and width, and one channel"
    )


def test_map_in_colour(load):
    assert "has shape (4, 6, 3), and its image is (4, 6); both need" in _refused(
        load, np.ones((4, 6), np.uint8), mode="RGB"
    )


def test_damaged_map(tiny_ade):
    path = tiny_ade.label_map("training", "000")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError) as error:
        LoadLabels(3).transform(
            {"seg_map_path": str(path), "ori_shape": (64, 96), "seg_fields": []}
        )
    message = str(error.value)
    assert f"the label map {path} cannot be decoded (" in message
    assert message.endswith("replace it, or take it and its image out of the dataset")


def test_image_classes_are_map_labels(tiny_ade):
    path = tiny_ade.label_map("training", "000")
    Image.fromarray(np.uint8([[0, 2], [255, 2]])).save(path)
    folders = dict(img_path="images/training", seg_map_path="annotations/training")
    dataset = SegmentationDataset(
        data_root=str(tiny_ade.root), data_prefix=folders, metainfo=dict(classes=("a", "b"))
    )
    assert dataset.classes_in(dataset.get_data_info(0)) == {0, 2}
