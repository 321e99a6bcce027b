"""The VOC loader on boxes as public sets contain them."""

import pytest
from mmengine.dataset import RepeatDataset
from support.dataset_trees import VocTree

from contract.errors import UserError
from det.dataset import DetectionDataset
from engine.runner.seeding import SeededDataset


def _dataset(tree, names, classes=("cat", "dog"), **options):
    tree.split("some", names)
    return DetectionDataset(
        ann_file=str(tree.root / "ImageSets" / "Main" / "some.txt"),
        data_prefix=dict(sub_data_root=str(tree.root)),
        metainfo=dict(classes=classes),
        pipeline=[],
        **options,
    )


def _boxes(dataset, index=0):
    return [i["bbox"] for i in dataset.get_data_info(index)["instances"]]


@pytest.fixture
def tree(tmp_path):
    return VocTree(tmp_path / "own")


def test_zero_based_corners_and_labels(tree):
    tree.add("a", (64, 48), [("dog", 11, 21, 31, 41, 0), ("cat", 1, 1, 64, 48, 1)])
    info = _dataset(tree, ["a"]).get_data_info(0)
    assert info["instances"] == [
        {"bbox": [10, 20, 30, 40], "bbox_label": 1, "ignore_flag": 0},
        {"bbox": [0, 0, 63, 47], "bbox_label": 0, "ignore_flag": 1},
    ]
    assert (info["width"], info["height"]) == (64, 48)
    assert info["img_path"] == str(tree.root / "JPEGImages" / "a.jpg")


@pytest.mark.parametrize("flat", [(20, 10, 20, 30), (10, 30, 40, 30), (30, 10, 20, 30)])
def test_empty_box_is_dropped_and_noted(tree, flat):
    tree.add("good", (64, 64), [("cat", 11, 11, 21, 21)])
    tree.add("bad", (64, 64), [("cat", 6, 6, 16, 16), ("dog", *flat)])
    dataset = _dataset(tree, ["good", "bad"])
    assert _boxes(dataset, 1) == [[5, 5, 15, 15]]
    assert dataset.notes == [
        "1 of 3 boxes have no area inside the image and were dropped (first: bad.xml)"
    ]


@pytest.mark.parametrize("outside", [(70, 5, 90, 20), (5, 70, 20, 90), (-30, 5, -2, 20)])
def test_outside_box_is_dropped(tree, outside):
    tree.add("a", (64, 64), [("cat", *outside), ("cat", 6, 6, 16, 16)])
    dataset = _dataset(tree, ["a"])
    assert _boxes(dataset) == [[5, 5, 15, 15]]
    assert dataset.notes == [
        "1 of 2 boxes have no area inside the image and were dropped (first: a.xml)"
    ]


def test_partly_outside_box_is_clipped(tree):
    tree.add("a", (64, 48), [("cat", -9, -19, 31, 21), ("dog", 41, 31, 90, 80)])
    dataset = _dataset(tree, ["a"])
    assert _boxes(dataset) == [[0, 0, 30, 20], [40, 30, 64, 48]]
    assert dataset.notes == ["2 of 2 boxes reach out of the image and were clipped (first: a.xml)"]


def test_first_and_last_pixel_are_inside(tree):
    tree.add("a", (64, 48), [("cat", 0, 0, 20, 20), ("cat", 40, 30, 65, 49)])
    dataset = _dataset(tree, ["a"])
    assert _boxes(dataset) == [[0, 0, 19, 19], [39, 29, 64, 48]]
    assert dataset.notes == []


@pytest.mark.parametrize("size", [(0, 0), (0, 48), ("", "")])
def test_missing_size_comes_from_image(tree, size):
    tree.add("a", (64, 48), [("cat", 41, 31, 90, 80)], xml_size=size)
    dataset = _dataset(tree, ["a"])
    info = dataset.get_data_info(0)
    assert (info["width"], info["height"]) == (64, 48)
    assert _boxes(dataset) == [[40, 30, 64, 48]]


def test_missing_size_and_image(tree):
    tree.add("a", (64, 48), xml_size=(0, 0))
    image = tree.root / "JPEGImages" / "a.jpg"
    image.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"cannot be read .*; replace it") as error:
        _dataset(tree, ["a"])
    assert str(image) in str(error.value)


@pytest.mark.parametrize(
    "broken",
    [
        "<object><name>cat</name></object>",
        "<object><name>cat</name><bndbox><xmin>1</xmin></bndbox></object>",
        "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>x</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>",
        "<object><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>",
    ],
    ids=["no bndbox", "half a bndbox", "no number", "no name"],
)
def test_invalid_object_names_file(tree, broken):
    tree.add("a", (64, 48))
    text = tree.xml("a").read_text().replace("</annotation>", f"{broken}</annotation>")
    tree.xml("a").write_text(text)
    with pytest.raises(UserError) as error:
        _dataset(tree, ["a"])
    message = str(error.value)
    assert (
        f"the annotation {tree.xml('a')} has an object without a name or a whole bndbox" in message
    )
    assert message.endswith("fix the file")


def test_unlisted_class(tree):
    tree.add("a", (64, 64), [("cat", 6, 6, 16, 16), ("cow", 6, 6, 16, 16)])
    dataset = _dataset(tree, ["a"])
    assert _boxes(dataset) == [[5, 5, 15, 15]]
    assert dataset.notes == [
        "1 of 2 boxes are of a class that classes.txt does not list and were left out (first: a.xml)"
    ]


def test_blank_list_lines(tree):
    tree.add("a", (64, 64), [("cat", 6, 6, 16, 16)]).add("b", (64, 64), [("cat", 6, 6, 16, 16)])
    dataset = _dataset(tree, ["a ", "", "b\r", ""])
    assert [dataset.get_data_info(i)["img_id"] for i in range(len(dataset))] == ["a", "b"]
    assert [entry.annotation for entry in dataset.part.entries()] == [tree.xml("a"), tree.xml("b")]


def test_small_boxes_and_empty_images_in_training(tree):
    tree.add("a", (64, 64), [("cat", 11, 11, 21, 41), ("cat", 11, 11, 41, 41)])
    tree.add("flat", (64, 64), [("cat", 20, 10, 20, 30)])
    dataset = _dataset(tree, ["flat", "a"], filter_cfg=dict(filter_empty_gt=True, bbox_min_size=12))
    assert len(dataset) == 1
    assert [i["ignore_flag"] for i in dataset.get_data_info(0)["instances"]] == [1, 0]


def test_notes_pass_through_wrappers(tree):
    tree.add("a", (64, 64), [("cat", 6, 6, 16, 16), ("dog", 20, 10, 20, 30)])
    tree.add("b", (64, 64), [("cat", 6, 6, 90, 16)])
    parts = []
    for name in ("a", "b"):
        tree.split(name, [name])
        part = dict(
            type="DetectionDataset",
            ann_file=str(tree.root / "ImageSets" / "Main" / f"{name}.txt"),
            data_prefix=dict(sub_data_root=str(tree.root)),
            metainfo=dict(classes=("cat", "dog")),
            pipeline=[],
        )
        parts.append(part)
    both = dict(type="ConcatDataset", datasets=parts)
    wrapped = SeededDataset(dict(type="RepeatDataset", times=3, dataset=both), seed=0)
    assert wrapped.notes == [
        "1 of 2 boxes have no area inside the image and were dropped (first: a.xml)",
        "1 of 1 boxes reach out of the image and were clipped (first: b.xml)",
    ]


def test_repeated_images_count_once(tree):
    for name in ("a", "b"):
        tree.add(name, (64, 64), [("cat", 6, 6, 16, 16)])
    repeated = RepeatDataset(_dataset(tree, ["a", "b"]), times=3)
    whole = SeededDataset(repeated, seed=0)
    assert (len(whole), whole.images_total, whole.images_used) == (6, 2, 2)
    limited = SeededDataset(repeated, seed=0, limit=1)
    assert (len(limited), limited.images_total, limited.images_used) == (1, 2, 1)


def test_set_without_usable_image(tree):
    tree.add("a", (64, 64), [("cow", 6, 6, 16, 16)])
    with pytest.raises(UserError) as error:
        _dataset(tree, ["a"], filter_cfg=dict(filter_empty_gt=True))
    assert str(error.value) == (
        f"{tree.root / 'ImageSets' / 'Main' / 'some.txt'} lists no image that can be trained on (1 of 1 boxes "
        "are of a class that classes.txt does not list and were left out (first: a.xml)); fix the annotations"
    )


def test_image_classes_skip_ignored_objects(tree):
    tree.add("a", (64, 64), [("dog", 6, 6, 16, 16, 0), ("cat", 6, 6, 26, 26, 1)])
    dataset = _dataset(tree, ["a"])
    assert dataset.classes_in(dataset.get_data_info(0)) == {1}
