"""Where the VOC layout's splits and classes are found, and what a wrong folder is told."""

import pytest
from det.layout import Split, parse_xml, read_classes, read_layout

from contract.errors import UserError

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
def devkit(tmp_path, voc_tree):
    root = tmp_path / "VOCdevkit"
    for year in ("VOC2007", "VOC2012"):
        tree = voc_tree(root / year)
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
        read_layout(root)
    return str(error.value)


def test_both_years_train_on_trainval_and_test_on_2007(devkit):
    layout = read_layout(devkit)
    assert layout.train == (
        Split(devkit / "VOC2007", _list(devkit / "VOC2007", "trainval")),
        Split(devkit / "VOC2012", _list(devkit / "VOC2012", "trainval")),
    )
    assert layout.test == Split(devkit / "VOC2007", _list(devkit / "VOC2007", "test"))


def test_the_test_list_of_2012_is_neither_trained_nor_tested_on(devkit):
    _list(devkit / "VOC2012", "test").write_text("VOC2012_c\n")
    layout = read_layout(devkit)
    lists = [split.list_file for split in (*layout.train, layout.test)]
    assert _list(devkit / "VOC2012", "test") not in lists


def test_2012_without_trainval_gives_train_and_val(devkit):
    _list(devkit / "VOC2012", "trainval").unlink()
    assert [split.list_file.name for split in read_layout(devkit).train] == [
        "trainval.txt",
        "train.txt",
        "val.txt",
    ]


def test_2007_alone(tiny_voc):
    layout = read_layout(tiny_voc.root.parent)
    assert layout.train == (Split(tiny_voc.root, _list(tiny_voc.root, "trainval")),)
    assert layout.test == Split(tiny_voc.root, _list(tiny_voc.root, "test"))
    assert layout.classes == ("cat", "dog")


def test_bare_tree_with_trainval_and_test(tmp_path, voc_tree):
    tree = voc_tree(tmp_path / "own").add("a", (40, 40)).add("b", (40, 40))
    tree.split("trainval", ["a"]).split("test", ["b"])
    layout = read_layout(tree.root)
    assert layout.train == (Split(tree.root, _list(tree.root, "trainval")),)
    assert layout.test == Split(tree.root, _list(tree.root, "test"))


def test_bare_tree_with_train_val_and_test_trains_on_both(tmp_path, voc_tree):
    tree = voc_tree(tmp_path / "own")
    for name in ("a", "b", "c"):
        tree.add(name, (40, 40))
    tree.split("train", ["a"]).split("val", ["b"]).split("test", ["c"])
    layout = read_layout(tree.root)
    assert [split.list_file.name for split in layout.train] == ["train.txt", "val.txt"]
    assert layout.test.list_file.name == "test.txt"


def test_bare_tree_with_train_and_val_only_is_tested_on_val(tmp_path, voc_tree):
    tree = voc_tree(tmp_path / "own").add("a", (40, 40)).add("b", (40, 40))
    # A trainval list would put the tested images into training.
    tree.split("train", ["a"]).split("val", ["b"]).split("trainval", ["a", "b"])
    layout = read_layout(tree.root)
    assert [split.list_file.name for split in layout.train] == ["train.txt"]
    assert layout.test.list_file.name == "val.txt"


def test_missing_folder(tmp_path):
    message = _refused(tmp_path / "nowhere")
    assert f"{tmp_path / 'nowhere'} does not exist; expected VOC2007/ (and VOC2012/)" in message


def test_a_folder_of_another_layout(tmp_path):
    (tmp_path / "train" / "cat").mkdir(parents=True)
    message = _refused(tmp_path)
    assert (
        f"{tmp_path / 'ImageSets' / 'Main'} has no train.txt, val.txt, trainval.txt or test.txt"
        in message
    )
    assert "expected VOC2007/" in message


def test_one_year_of_a_devkit_whose_lists_are_elsewhere_says_which_folder_to_give(devkit):
    for path in (devkit / "VOC2012" / "ImageSets" / "Main").iterdir():
        path.unlink()
    assert _refused(devkit / "VOC2012").endswith(f"; give {devkit} instead")


def test_a_folder_inside_a_year_says_which_folder_to_give(devkit):
    message = _refused(devkit / "VOC2007" / "JPEGImages")
    assert f"give {devkit} instead" in message


def test_the_folder_above_the_devkit_says_which_folder_to_give(devkit):
    assert f"give {devkit} instead" in _refused(devkit.parent)


def test_a_year_by_itself_without_a_test_list_says_what_lacks(tmp_path, voc_tree):
    tree = voc_tree(tmp_path / "own").add("a", (40, 40)).split("trainval", ["a"])
    message = _refused(tree.root)
    assert (
        message
        == f"{tree.root} has no split to test on: neither test.txt nor train.txt and val.txt"
    )


def test_a_test_list_alone(tmp_path, voc_tree):
    tree = voc_tree(tmp_path / "own").add("a", (40, 40)).split("test", ["a"])
    assert f"{tree.root} has a test split and nothing to train on; expected" in _refused(tree.root)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_list(tiny_voc, content):
    path = _list(tiny_voc.root, "trainval")
    path.write_text(content)
    assert f"{path} lists no image; expected" in _refused(tiny_voc.root.parent)


def test_classes_come_from_the_file_in_its_order(tiny_voc):
    (tiny_voc.root.parent / "classes.txt").write_text("dog\n\n cat \n")
    assert read_layout(tiny_voc.root.parent).classes == ("dog", "cat")


def test_a_file_without_classes_is_refused(tiny_voc):
    path = tiny_voc.root.parent / "classes.txt"
    path.write_text("\n")
    assert (
        _refused(tiny_voc.root.parent)
        == f"{path} names no class; write one a line, or remove the file"
    )


def test_names_of_voc_give_all_twenty_in_the_official_order(devkit):
    assert read_layout(devkit).classes == tuple(VOC_CLASSES)


def test_other_names_are_sorted_and_come_from_all_splits(tmp_path, voc_tree):
    box = (5, 5, 30, 30)
    tree = voc_tree(tmp_path / "own")
    tree.add("a", (40, 40), [("zebra", *box), ("cat", *box)]).add("b", (40, 40), [("apple", *box)])
    tree.split("train", ["a"]).split("val", ["b"])
    assert read_layout(tree.root).classes == ("apple", "cat", "zebra")


def test_damaged_xml_names_file_line_and_mending(tiny_voc):
    path = tiny_voc.xml("001")
    path.write_text("<annotation>\n<object></annotation>")
    with pytest.raises(UserError) as error:
        parse_xml(path)
    message = str(error.value)
    assert (
        f"the annotation {path} is not well-formed XML (mismatched tag: line 2, column 10)"
        in message
    )
    assert "mend the file, or take its name out of ImageSets/Main" in message


def test_missing_xml_is_told_while_classes_are_collected(tiny_voc):
    (tiny_voc.root.parent / "classes.txt").unlink()
    tiny_voc.xml("002").unlink()
    split = Split(tiny_voc.root, _list(tiny_voc.root, "trainval"))
    with pytest.raises(UserError) as error:
        read_classes(tiny_voc.root.parent, [split])
    assert (
        str(error.value)
        == f"the annotation {tiny_voc.xml('002')} does not exist; complete the dataset"
    )
