"""Where the VOC layout's splits and classes are found, and the errors for wrong folders."""

import pytest
from support.dataset_trees import VocTree

from contract.errors import UserError
from datasets.layouts import voc
from datasets.layouts.voc import ImageList
from datasets.layouts.voc_xml import read_annotation

# As in the development kit's VOCinit.m.
VOC_CLASSES = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]


@pytest.fixture
def devkit(tmp_path):
    root = tmp_path / "VOCdevkit"
    for year in ("VOC2007", "VOC2012"):
        tree = VocTree(root / year)
        for name in ("a", "b", "c"):
            tree.add(f"{year}_{name}", (40, 40), [("dog", 5, 5, 30, 30)])
        tree.split("trainval", [f"{year}_a", f"{year}_b"]).split("train", [f"{year}_a"])
        tree.split("val", [f"{year}_b"])
    tree_2007 = root / "VOC2007" / "ImageSets" / "Main" / "test.txt"
    tree_2007.write_text("VOC2007_c\n")
    return root


def _list(tree, name):
    return tree / "ImageSets" / "Main" / f"{name}.txt"


def _refused(root):
    with pytest.raises(UserError) as error:
        voc.splits(root)
    return str(error.value)


def test_trains_on_both_years_tests_on_2007(devkit):
    layout = voc.splits(devkit)
    assert layout.train == (
        ImageList(devkit / "VOC2007", _list(devkit / "VOC2007", "trainval")),
        ImageList(devkit / "VOC2012", _list(devkit / "VOC2012", "trainval")),
    )
    assert layout.test == ImageList(devkit / "VOC2007", _list(devkit / "VOC2007", "test"))


def test_ignores_test_list_of_2012(devkit):
    _list(devkit / "VOC2012", "test").write_text("VOC2012_c\n")
    layout = voc.splits(devkit)
    lists = [split.list_file for split in (*layout.train, layout.test)]
    assert _list(devkit / "VOC2012", "test") not in lists


def test_year_2012_without_trainval(devkit):
    _list(devkit / "VOC2012", "trainval").unlink()
    assert [split.list_file.name for split in voc.splits(devkit).train] == [
        "trainval.txt",
        "train.txt",
        "val.txt",
    ]


def test_year_2007_alone(tiny_voc):
    layout = voc.splits(tiny_voc.root.parent)
    assert layout.train == (ImageList(tiny_voc.root, _list(tiny_voc.root, "trainval")),)
    assert layout.test == ImageList(tiny_voc.root, _list(tiny_voc.root, "test"))
    assert voc.classes(tiny_voc.root.parent) == ("cat", "dog")


def test_bare_tree_with_trainval_and_test(tmp_path):
    tree = VocTree(tmp_path / "own").add("a", (40, 40)).add("b", (40, 40))
    tree.split("trainval", ["a"]).split("test", ["b"])
    layout = voc.splits(tree.root)
    assert layout.train == (ImageList(tree.root, _list(tree.root, "trainval")),)
    assert layout.test == ImageList(tree.root, _list(tree.root, "test"))


def test_bare_tree_with_train_val_and_test(tmp_path):
    tree = VocTree(tmp_path / "own")
    for name in ("a", "b", "c"):
        tree.add(name, (40, 40))
    tree.split("train", ["a"]).split("val", ["b"]).split("test", ["c"])
    layout = voc.splits(tree.root)
    assert [split.list_file.name for split in layout.train] == ["train.txt", "val.txt"]
    assert layout.test.list_file.name == "test.txt"


def test_bare_tree_tests_on_val_without_test_list(tmp_path):
    tree = VocTree(tmp_path / "own").add("a", (40, 40)).add("b", (40, 40))
    # A trainval list would put the tested images into training.
    tree.split("train", ["a"]).split("val", ["b"]).split("trainval", ["a", "b"])
    layout = voc.splits(tree.root)
    assert [split.list_file.name for split in layout.train] == ["train.txt"]
    assert layout.test.list_file.name == "val.txt"


def test_missing_folder(tmp_path):
    message = _refused(tmp_path / "nowhere")
    assert f"{tmp_path / 'nowhere'} does not exist" in message
    assert "Expected:\n  ROOT/VOC2007/JPEGImages" in message


def test_folder_of_another_layout(tmp_path):
    (tmp_path / "train" / "cat").mkdir(parents=True)
    message = _refused(tmp_path)
    assert f"{tmp_path} is not in the voc layout: it has no VOC2007 and VOC2012" in message
    assert "Expected:\n  ROOT/VOC2007/JPEGImages" in message


def test_devkit_year_suggests_folder(devkit):
    assert f"Name the folder above it: {devkit}." in _refused(devkit / "VOC2012")


def test_year_without_lists(devkit):
    for path in (devkit / "VOC2012" / "ImageSets" / "Main").iterdir():
        path.unlink()
    folder = devkit / "VOC2012" / "ImageSets" / "Main"
    assert f"{folder} has none of train, val, trainval, test as .txt" in _refused(devkit)


def test_folder_inside_year_suggests_folder(devkit):
    assert f"Did you mean {devkit}?" in _refused(devkit / "VOC2007" / "JPEGImages")


def test_parent_of_devkit_suggests_folder(devkit):
    assert f"Did you mean {devkit}?" in _refused(devkit.parent)


def test_missing_test_list(tmp_path):
    tree = VocTree(tmp_path / "own").add("a", (40, 40)).split("trainval", ["a"])
    found = f"{tree.root} has no split to test on: neither test.txt nor train.txt and val.txt"
    assert found in _refused(tree.root)


def test_test_list_alone(tmp_path):
    tree = VocTree(tmp_path / "own").add("a", (40, 40)).split("test", ["a"])
    message = _refused(tree.root)
    assert f"{tree.root} has a test split and nothing to train on. Expected" in message


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_empty_list(tiny_voc, content):
    path = _list(tiny_voc.root, "trainval")
    path.write_text(content)
    assert f"{path} lists no image; expected" in _refused(tiny_voc.root.parent)


def test_classes_file_order(tiny_voc):
    (tiny_voc.root.parent / "classes.txt").write_text("dog\n\n cat \n")
    assert voc.classes(tiny_voc.root.parent) == ("dog", "cat")


def test_classes_file_without_names(tiny_voc):
    path = tiny_voc.root.parent / "classes.txt"
    path.write_text("\n")
    with pytest.raises(UserError) as error:
        voc.classes(tiny_voc.root.parent)
    assert str(error.value) == f"{path} names no class; write one a line, or remove the file."


def test_voc_names_give_official_order(devkit):
    assert voc.classes(devkit) == tuple(VOC_CLASSES)


def test_other_names_are_sorted_over_all_splits(tmp_path):
    box = (5, 5, 30, 30)
    tree = VocTree(tmp_path / "own")
    tree.add("a", (40, 40), [("zebra", *box), ("cat", *box)]).add("b", (40, 40), [("apple", *box)])
    tree.split("train", ["a"]).split("val", ["b"])
    assert voc.classes(tree.root) == ("apple", "cat", "zebra")


def test_damaged_xml_names_file_line_and_fix(tiny_voc):
    path = tiny_voc.xml("001")
    path.write_text("<annotation>\n<object></annotation>")
    with pytest.raises(UserError) as error:
        read_annotation(path)
    assert str(error.value) == (
        f"the annotation {path} is not XML (mismatched tag: line 2, column 10); fix the file, or take its name out of "
        "ImageSets/Main"
    )


def test_missing_xml_while_collecting_classes(tiny_voc):
    (tiny_voc.root.parent / "classes.txt").unlink()
    tiny_voc.xml("002").unlink()
    with pytest.raises(UserError) as error:
        voc.classes(tiny_voc.root.parent)
    assert (
        str(error.value)
        == f"the annotation {tiny_voc.xml('002')} does not exist; complete the dataset"
    )
