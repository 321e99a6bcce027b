"""Where the ADE20K layout's splits and classes are found, and what a wrong folder is told."""

import pytest
from seg.layout import Layout, read_classes, read_layout

from contract.errors import UserError


def _refused(root):
    with pytest.raises(UserError) as error:
        read_layout(root)
    return str(error.value)


def test_classes_and_suffixes(tiny_ade):
    assert read_layout(tiny_ade.root) == Layout(
        tiny_ade.root, ("sky", "tree", "road"), ".jpg", ".jpg"
    )


def test_each_split_has_its_own_suffix(tiny_ade):
    for path in (tiny_ade.root / "images" / "validation").iterdir():
        path.rename(path.with_suffix(".png"))
    layout = read_layout(tiny_ade.root)
    assert (layout.train_suffix, layout.test_suffix) == (".jpg", ".png")


@pytest.mark.parametrize("part", ["images", "annotations"])
@pytest.mark.parametrize("split", ["training", "validation"])
def test_a_missing_folder(tiny_ade, part, split):
    folder = tiny_ade.root / part / split
    folder.rename(folder.with_name("elsewhere"))
    message = _refused(tiny_ade.root)
    assert f"{folder} does not exist; expected images/{{training,validation}}/*.jpg" in message
    assert "and classes.txt or objectInfo150.txt" in message


def test_no_images(tiny_ade):
    folder = tiny_ade.root / "images" / "training"
    for path in folder.iterdir():
        path.unlink()
    assert f"{folder} holds no images; one kind is expected; expected images/" in _refused(
        tiny_ade.root
    )


def test_images_of_two_kinds(tiny_ade):
    image = tiny_ade.image("training", "000")
    image.rename(image.with_suffix(".png"))
    message = _refused(tiny_ade.root)
    assert (
        f"{image.parent} holds images of the kinds ['.jpg', '.png']; one kind is expected"
        in message
    )


def test_an_image_without_label_map(tiny_ade):
    label_map = tiny_ade.label_map("validation", "004")
    label_map.unlink()
    image = tiny_ade.image("validation", "004")
    assert (
        _refused(tiny_ade.root)
        == f"{image} has no label map {label_map}; add it or remove the image"
    )


def test_object_info_of_ade20k(tiny_ade):
    (tiny_ade.root / "classes.txt").unlink()
    (tiny_ade.root / "objectInfo150.txt").write_text(
        "Idx\tRatio\tTrain\tVal\tName\n"
        "1\t0.1576\t11664\t1172\twall\n"
        "2\t0.1072\t6046\t612\tbuilding, edifice\n"
        "3\t0.0878\t8265\t796\tsky\t\n".replace("sky\t", "sky")
    )
    assert read_layout(tiny_ade.root).classes == ("wall", "building", "sky")


def test_classes_file_comes_first(tiny_ade):
    (tiny_ade.root / "objectInfo150.txt").write_text("Idx\tName\n1\twall\n")
    assert read_classes(tiny_ade.root) == ("sky", "tree", "road")


def test_nothing_names_the_classes(tiny_ade):
    path = tiny_ade.root / "classes.txt"
    path.unlink()
    message = _refused(tiny_ade.root)
    assert f"{tiny_ade.root} has neither classes.txt nor objectInfo150.txt" in message
    assert f"write the class names into {path}, one a line, the name of label 1 first" in message


@pytest.mark.parametrize("count", [0, 255])
def test_more_classes_than_a_label_map_can_tell_apart_or_none(tiny_ade, count):
    tiny_ade.classes(*(f"class {i}" for i in range(count)))
    path = tiny_ade.root / "classes.txt"
    assert f"{path} names {count} classes; 1 to 254 fit into label maps of 8 bits" in _refused(
        tiny_ade.root
    )


def test_as_many_classes_as_a_label_map_can_tell_apart(tiny_ade):
    tiny_ade.classes(*(f"class {i}" for i in range(254)))
    assert len(read_layout(tiny_ade.root).classes) == 254
