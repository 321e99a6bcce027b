"""Where the ADE20K layout's splits and classes are found, and the errors for wrong folders."""

import pytest

from contract.errors import UserError
from datasets.layouts import ade20k
from datasets.layouts.ade20k import Folders
from datasets.records import Splits


def _refused(root):
    with pytest.raises(UserError) as error:
        ade20k.splits(root)
        ade20k.classes(root)
    return str(error.value)


def test_classes_and_suffixes(tiny_ade):
    train, test = (
        Folders(tiny_ade.root / "images" / split, tiny_ade.root / "annotations" / split)
        for split in ("training", "validation")
    )
    assert ade20k.splits(tiny_ade.root) == Splits((train,), test)
    assert ade20k.classes(tiny_ade.root) == ("sky", "tree", "road")
    assert (train.suffix(), test.suffix()) == (".jpg", ".jpg")


def test_suffix_of_each_split(tiny_ade):
    for path in (tiny_ade.root / "images" / "validation").iterdir():
        path.rename(path.with_suffix(".png"))
    splits = ade20k.splits(tiny_ade.root)
    assert (splits.train[0].suffix(), splits.test.suffix()) == (".jpg", ".png")


@pytest.mark.parametrize("part", ["images", "annotations"])
@pytest.mark.parametrize("split", ["training", "validation"])
def test_missing_folder(tiny_ade, part, split):
    folder = tiny_ade.root / part / split
    folder.rename(folder.with_name("elsewhere"))
    message = _refused(tiny_ade.root)
    assert f"{part} has no folder {split}. Expected:" in message
    assert "ROOT/classes.txt or ROOT/objectInfo150.txt" in message


def test_no_images(tiny_ade):
    folder = tiny_ade.root / "images" / "training"
    for path in folder.iterdir():
        path.unlink()
    assert f"{folder} holds no images; one kind is expected. Expected:" in _refused(tiny_ade.root)


def test_mixed_suffixes(tiny_ade):
    image = tiny_ade.image("training", "000")
    image.rename(image.with_suffix(".png"))
    message = _refused(tiny_ade.root)
    assert (
        f"{image.parent} holds images of the kinds ['.jpg', '.png']; one kind is expected"
        in message
    )


def test_image_without_label_map(tiny_ade):
    label_map = tiny_ade.label_map("validation", "004")
    label_map.unlink()
    image = tiny_ade.image("validation", "004")
    with pytest.raises(UserError) as error:
        ade20k.splits(tiny_ade.root).test.samples()
    assert str(error.value) == f"{image} has no label map {label_map}; add it or remove the image"


def test_object_info_of_ade20k(tiny_ade):
    (tiny_ade.root / "classes.txt").unlink()
    (tiny_ade.root / "objectInfo150.txt").write_text(
        "Idx\tRatio\tTrain\tVal\tName\n"
        "1\t0.1576\t11664\t1172\twall\n"
        "2\t0.1072\t6046\t612\tbuilding, edifice\n"
        "3\t0.0878\t8265\t796\tsky\t\n".replace("sky\t", "sky")
    )
    assert ade20k.classes(tiny_ade.root) == ("wall", "building", "sky")


def test_classes_file_comes_first(tiny_ade):
    (tiny_ade.root / "objectInfo150.txt").write_text("Idx\tName\n1\twall\n")
    assert ade20k.classes(tiny_ade.root) == ("sky", "tree", "road")


def test_no_class_names(tiny_ade):
    path = tiny_ade.root / "classes.txt"
    path.unlink()
    message = _refused(tiny_ade.root)
    assert f"{tiny_ade.root} does not say its class names" in message
    assert "it has neither classes.txt nor objectInfo150.txt" in message
    assert f"Add {path} with the names of labels 1, 2, 3 and so on, one a line" in message


def test_too_many_classes(tiny_ade):
    tiny_ade.classes(*(f"class {i}" for i in range(255)))
    path = tiny_ade.root / "classes.txt"
    assert f"{path} names 255 classes; 1 to 254 fit into label maps of 8 bits" in _refused(
        tiny_ade.root
    )


def test_zero_classes(tiny_ade):
    tiny_ade.classes()
    assert f"{tiny_ade.root / 'classes.txt'} names no class" in _refused(tiny_ade.root)


def test_most_classes(tiny_ade):
    tiny_ade.classes(*(f"class {i}" for i in range(254)))
    assert len(ade20k.classes(tiny_ade.root)) == 254
