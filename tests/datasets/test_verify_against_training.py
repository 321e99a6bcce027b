"""The check of the harness and the task that trains agree on every dataset."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.dataset_trees import AdeTree, VocTree

import engine  # noqa: F401  (it stands in for mmcv's compiled ops, which mmdet wants)
from contract.errors import UserError
from datasets.layouts import kind_of, layout_of
from datasets.verify import class_names, verify

BOX = (5, 5, 30, 30)


def _detection(root: Path):
    """The training and test sets of detection, and its classes, loaded as the task loads them."""
    # Imported late, here and below: mmdet and mmseg take seconds.
    from mmengine.registry import DATASETS

    import det.train  # noqa: F401  (it registers the datasets)
    from det.assemble import source

    layout = layout_of(kind_of(root, "det"))
    splits, classes = layout.splits(root), layout.classes(root)

    def load(part):
        return DATASETS.build(dict(source(part), metainfo=dict(classes=classes), pipeline=[]))

    return [load(part) for part in splits.train], load(splits.test), classes


def _segmentation(root: Path):
    """The same of segmentation."""
    import seg  # noqa: F401  (it puts mmcv's ops in place)
    from seg.dataset import SegmentationDataset

    layout = layout_of(kind_of(root, "seg"))
    splits, classes = layout.splits(root), layout.classes(root)
    loaded = [
        SegmentationDataset(
            data_prefix=dict(img_path=str(part.image_folder), seg_map_path=str(part.label_folder)),
            img_suffix=part.suffix(),
            metainfo=dict(classes=classes),
        )
        for part in (*splits.train, splits.test)
    ]
    return loaded[:-1], loaded[-1], classes


def _images(*loaded):
    return [Path(d.get_data_info(i)["img_path"]).name for d in loaded for i in range(len(d))]


def _agree(kind, root, doors):
    """Check and task agree: equal numbers of images, equal classes, and no problem."""
    report = verify(kind, root)
    assert report.errors == ()
    train, test, classes = doors(root)
    assert class_names(kind, root) == classes
    assert len(_images(*train, test)) == report.counts["images"]
    assert [note for loaded in (*train, test) for note in getattr(loaded, "notes", [])] == []
    return train, test, classes


def _both_refuse(kind, root, doors, match):
    with pytest.raises(UserError, match=match):
        verify(kind, root)
    with pytest.raises(UserError, match=match):
        doors(root)


def _own_tree(root: Path) -> VocTree:
    tree = VocTree(root)
    for name in ("000001", "000002", "000003"):
        tree.add(name, (40, 40 + int(name)), [("cat", *BOX), ("dog", 1, 1, 20, 20)])
    return tree.split("trainval", ["000001", "000002"]).split("test", ["000003"])


def _list(tree, name):
    return tree.root / "ImageSets" / "Main" / f"{name}.txt"


# 1: classes with numbers


@pytest.mark.parametrize("task", ["det", "seg"])
def test_numbered_classes(tmp_path, tiny_ade, task):
    root = _own_tree(tmp_path / "own").root if task == "det" else tiny_ade.root
    names = ("cat", "dog") if task == "det" else ("sky", "tall tree", "road")
    lines = (f"{number}\t{name}\n" for number, name in enumerate(names, start=1))
    (root / "classes.txt").write_text("".join(lines))
    doors = {"det": _detection, "seg": _segmentation}[task]
    _, _, classes = _agree(kind_of(root, task), root, doors)
    assert classes == names
    (root / "classes.txt").write_text("0\tother\n1\tcat\n")
    _both_refuse(kind_of(root, task), root, doors, "numbers its classes")


# 2: lists with two columns


def test_two_column_list(tmp_path):
    tree = _own_tree(tmp_path / "own")
    _list(tree, "trainval").write_text("000001  1\r\n000002 -1\r\n\r\n")
    train, _, _ = _agree("voc", tree.root, _detection)
    assert _images(*train) == ["000001.jpg", "000002.jpg"]


# 3: suffixes of ADE20K-style images


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg", ".tif"])
def test_other_suffix(tiny_ade, suffix):
    for path in sorted((tiny_ade.root / "images").rglob("*.jpg")):
        with Image.open(path) as image:
            pixels = image.copy()
        path.unlink()
        pixels.save(path.with_suffix(suffix))
    train, test, _ = _agree("ade20k", tiny_ade.root, _segmentation)
    assert _images(*train, test) == [f"{number:03d}{suffix}" for number in range(6)]


def test_mixed_suffixes(tiny_ade):
    image = tiny_ade.image("training", "001")
    image.rename(image.with_suffix(".JPG"))
    match = r"training holds images of the kinds \['\.JPG', '\.jpg'\]; one kind is expected"
    _both_refuse("ade20k", tiny_ade.root, _segmentation, match)


# 4: years of the devkit


def _devkit(root: Path, years):
    for year, lists in years.items():
        tree = VocTree(root / year)
        for split in lists:
            name = f"{year}_{split}"
            tree.add(name, (40, 30 + len(name) + 40 * int(year[-2:])), [("cat", *BOX)])
            tree.split(split, [name])
    return root


@pytest.mark.parametrize(
    ("years", "trained", "tested"),
    [
        (
            {"VOC2007": ("trainval", "test"), "VOC2012": ("trainval",)},
            ["VOC2007_trainval", "VOC2012_trainval"],
            "VOC2007_test",
        ),
        ({"VOC2012": ("train", "val")}, ["VOC2012_train"], "VOC2012_val"),
        ({"VOC2012": ("trainval", "test")}, ["VOC2012_trainval"], "VOC2012_test"),
        (
            {"VOC2010": ("train", "val"), "VOC2012": ("trainval", "test")},
            ["VOC2010_train", "VOC2010_val", "VOC2012_trainval"],
            "VOC2012_test",
        ),
        (
            {
                "VOC2007": ("trainval", "test"),
                "VOC2008": ("train", "val"),
                "VOC2012": ("trainval",),
            },
            ["VOC2007_trainval", "VOC2008_train", "VOC2008_val", "VOC2012_trainval"],
            "VOC2007_test",
        ),
        (
            {"VOC2010": ("train", "val"), "VOC2012": ("train", "val")},
            ["VOC2010_train", "VOC2012_train", "VOC2012_val"],
            "VOC2010_val",
        ),
    ],
)
def test_devkit_years(tmp_path, years, trained, tested):
    root = _devkit(tmp_path / "VOCdevkit", years)
    (root / "classes.txt").write_text("cat\n")
    train, test, _ = _agree("voc", root, _detection)
    assert _images(*train) == [f"{name}.jpg" for name in trained]
    assert _images(test) == [f"{tested}.jpg"]
    splits = layout_of("voc").splits(root)
    assert [path.stem for path in splits.train_images()] == trained


def test_devkit_without_test_images(tmp_path):
    root = _devkit(tmp_path / "VOCdevkit", {"VOC2012": ("trainval",)})
    _both_refuse("voc", root, _detection, "VOC2012 has no split to test on")


# 5: marks before the first character


@pytest.mark.parametrize("file", ["classes", "trainval"])
def test_byte_order_mark(tmp_path, file):
    tree = _own_tree(tmp_path / "own")
    (tree.root / "classes.txt").write_text("cat\ndog\n")
    path = tree.root / "classes.txt" if file == "classes" else _list(tree, file)
    path.write_bytes(("\ufeff" + path.read_text().replace("\n", "\r\n")).encode())
    _, _, classes = _agree("voc", tree.root, _detection)
    assert classes == ("cat", "dog")


def test_byte_order_mark_in_segmentation_classes(tiny_ade):
    (tiny_ade.root / "classes.txt").write_bytes("\ufeffsky\r\ntree\r\nroad\r\n".encode())
    assert _agree("ade20k", tiny_ade.root, _segmentation)[2] == ("sky", "tree", "road")


def test_list_encoding(tmp_path):
    tree = _own_tree(tmp_path / "own")
    path = _list(tree, "trainval")
    path.write_text(path.read_text(), encoding="utf-16")
    _both_refuse("voc", tree.root, _detection, r"trainval\.txt is not text in the encoding UTF-8")


# 6: two classes with one first synonym


def test_duplicate_first_synonym(tiny_ade):
    import torch

    from seg.metric import SegmentationMetric

    (tiny_ade.root / "classes.txt").unlink()
    table = tiny_ade.root / "objectInfo150.txt"
    table.write_text("Idx\tName\n1\tscreen, door\n2\tscreen, monitor\n3\tsky\n")
    _, _, classes = _agree("ade20k", tiny_ade.root, _segmentation)
    assert classes == ("screen, door", "screen, monitor", "sky")
    metric = SegmentationMetric()
    metric.dataset_meta = {"classes": classes}
    metric.compute_metrics([(torch.eye(3, dtype=torch.int64), 1)])
    assert list(metric.details["classes"]) == list(classes)
    table.write_text("Idx\tName\n1\tscreen\n2\tscreen\n3\tsky\n")
    _both_refuse("ade20k", tiny_ade.root, _segmentation, "names 'screen' twice")


# Further fields that check and task could read differently


@pytest.mark.parametrize(
    ("text", "ignored", "noted"),
    [
        ("<difficult>0</difficult>", 0, False),
        ("<difficult>1</difficult>", 1, False),
        ("", 0, False),
        ("<difficult/>", 0, True),
        ("<difficult>Unspecified</difficult>", 0, True),
        ("<difficult>false</difficult>", 0, True),
        ("<difficult>True</difficult>", 1, True),
    ],
)
def test_difficult_as_word(tmp_path, text, ignored, noted):
    tree = _own_tree(tmp_path / "own")
    path = tree.xml("000001")
    path.write_text(path.read_text().replace("<difficult>0</difficult>", text))
    problems = verify("voc", tree.root).problems
    assert [problem.severity for problem in problems] == ["repaired", "repaired"] * noted
    assert all(f"it is read as {ignored}" in problem.message for problem in problems)
    (train,), _, _ = _detection(tree.root)
    flags = [instance["ignore_flag"] for instance in train.get_data_info(0)["instances"]]
    assert flags == [ignored, ignored]


@pytest.mark.parametrize("corner", ["nan", "inf", "-inf"])
def test_non_finite_voc_box(tmp_path, corner):
    tree = _own_tree(tmp_path / "own")
    path = tree.xml("000001")
    path.write_text(path.read_text().replace("<xmax>30</xmax>", f"<xmax>{corner}</xmax>"))
    (problem,) = verify("voc", tree.root).problems
    assert (problem.severity, "it is dropped" in problem.message) == ("repaired", True)
    (train,), _, _ = _detection(tree.root)
    assert [i["bbox"] for i in train.get_data_info(0)["instances"]] == [[0, 0, 19, 19]]
    assert train.notes[0].startswith("1 of 4 boxes have no area inside the image")


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_non_finite_coco_box(tmp_path, place, value):
    for split in ("train", "val"):
        folder = tmp_path / split
        folder.mkdir()
        shade = {"train": 9, "val": 99}[split]
        Image.new("RGB", (40, 30), (shade, 0, 0)).save(folder / "a.jpg")
        box = [value if split == "train" and i == place else "9" for i in range(4)]
        image = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}
        good = {"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 1, 20, 20]}
        bad = good | {"id": 1, "bbox": "BOX"}
        content = {"images": [image], "annotations": [bad, good]}
        content["categories"] = [{"id": 1, "name": "cat"}]
        text = json.dumps(content).replace('"BOX"', f"[{', '.join(box)}]")
        (folder / "_annotations.coco.json").write_text(text)
    (problem,) = verify("coco", tmp_path).problems
    assert problem.severity == "repaired"
    assert "is not finite, so it has no area; it is dropped" in problem.message
    (train,), _, _ = _detection(tmp_path)
    boxes = [i["bbox"] for i in train.get_data_info(0)["instances"]]
    assert boxes == [[1, 1, 21, 21]]
    assert np.isfinite(boxes).all()


def test_multi_byte_annotation_encoding(tmp_path):
    tree = _own_tree(tmp_path / "own")
    path = tree.xml("000001")
    text = path.read_text().replace("cat", "猫")
    path.write_bytes(f'<?xml version="1.0" encoding="gb2312"?>\n{text}'.encode("gb2312"))
    assert _agree("voc", tree.root, _detection)[2] == ("cat", "dog", "猫")


@pytest.mark.parametrize("encoding", ["gb2312", "klingon"])
def test_wrong_annotation_encoding(tmp_path, encoding):
    tree = _own_tree(tmp_path / "own")
    start = f'<?xml version="1.0" encoding="{encoding}"?>'.encode()
    tree.xml("000001").write_bytes(start + b"<annotation>\xff\xff</annotation>")
    (problem,) = verify("voc", tree.root).errors
    assert problem.path == tree.xml("000001")
    assert "encoding" in problem.message or "codec" in problem.message
    with pytest.raises(UserError, match=r"000001\.xml is not XML"):
        _detection(tree.root)


def test_only_annotation_is_damaged(tmp_path):
    tree = VocTree(tmp_path / "own").add("a", (40, 30), [("cat", *BOX)]).add("b", (40, 31))
    tree.split("train", ["a"]).split("val", ["b"])
    tree.xml("a").write_text("<annotation>")
    (problem,) = verify("voc", tree.root).errors
    assert (problem.path, "is not XML" in problem.message) == (tree.xml("a"), True)
    with pytest.raises(UserError, match=r"a\.xml is not XML"):
        _detection(tree.root)


@pytest.mark.parametrize("task", ["det", "seg"])
def test_macos_files(tmp_path, tiny_ade, task):
    root, doors = tiny_ade.root, _segmentation
    if task == "det":
        tree = VocTree(tmp_path / "own")
        for number in range(12):
            tree.add(f"{number}", (40, 50 + number), [("cat", *BOX)])
        root, doors = tree.root, _detection
        shutil.rmtree(root / "ImageSets")
    train, test, _ = doors(root)
    before = _images(*train, test)
    for path in list(root.rglob("*.*")):
        path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07 Mac OS X")
    report = verify(kind_of(root, task), root)
    assert (report.errors, report.counts["images"]) == ((), len(before))
    train, test, _ = doors(root)
    assert _images(*train, test) == before


def test_nested_label_maps(tmp_path):
    tree = AdeTree(tmp_path / "ade").classes("sky")
    for split in ("training", "validation"):
        for part in ("images", "annotations"):
            (tree.root / part / split / "deep").mkdir()
        tree.add(split, f"deep/{split}", np.ones((20, 20 + len(split))))
    train, test, _ = _agree("ade20k", tree.root, _segmentation)
    assert train[0].get_data_info(0)["seg_map_path"].endswith("training/deep/training.png")
    assert _images(test) == ["validation.jpg"]
