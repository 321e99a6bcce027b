"""The checks of a dataset in each layout: counts, problems and leaks."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.small_world import SMALL, an_object, only, truncate, write_annotation

from contract.errors import UserError, unknown
from datasets.fingerprint import fingerprint
from datasets.layouts.voc import VOC_NAMES
from datasets.verify import class_names, verify


@pytest.mark.parametrize("kind", ["imagefolder", "voc", "ade20k"])
def test_missing_folder(kind, tmp_path: Path):
    (tmp_path / "VOCdevkti").mkdir()
    with pytest.raises(UserError) as caught:
        verify(kind, tmp_path / "VOCdevkit" / "inner")
    message = str(caught.value)
    assert f"{tmp_path / 'VOCdevkit' / 'inner'} does not exist" in message
    assert f"nearest existing folder is {tmp_path}, which holds: VOCdevkti" in message
    assert "Expected:\n  ROOT/" in message
    assert "datasets.miniworld" in message


@pytest.mark.parametrize("kind", ["imagefolder", "voc", "ade20k"])
def test_empty_folder_and_file(kind, tmp_path: Path):
    with pytest.raises(UserError, match=r"is empty\. Expected:"):
        class_names(kind, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"is a file\. Expected:"):
        fingerprint(kind, tmp_path / "file")


@pytest.mark.parametrize(
    ("kind", "named", "meant"),
    [
        ("imagefolder", ".", "cls"),
        ("voc", ".", "VOCdevkit"),
        ("voc", "VOCdevkit/VOC2007", "VOCdevkit"),
        ("voc", "VOCdevkit/VOC2007/JPEGImages", "VOCdevkit"),
        ("ade20k", ".", "ADEChallengeData2016"),
        ("ade20k", "ADEChallengeData2016/images", "ADEChallengeData2016"),
    ],
)
def test_parent_or_child_folder(kind, named: str, meant: str, pristine: Path):
    with pytest.raises(UserError, match=f"is not in the {kind} layout") as caught:
        verify(kind, pristine / named)
    first_line = str(caught.value).splitlines()[0]
    assert re.search(rf"{re.escape(str(pristine / meant))}[.?] Expected:$", first_line)


def test_other_wrong_layouts(cls: Path, voc: Path, ade: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"not divided into train and val\. Move them"):
        verify("imagefolder", cls / "train")
    shutil.rmtree(cls / "val")
    with pytest.raises(UserError, match="it has no folder val"):
        verify("imagefolder", cls)
    shutil.copytree(ade / "images" / "training", cls / "val")
    with pytest.raises(UserError, match=r"val has no class folder\. Sort the images"):
        verify("imagefolder", cls)
    for path in (voc / "VOC2012" / "ImageSets" / "Main").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"has none of train, val, trainval, test as \.txt"):
        verify("voc", voc)
    shutil.rmtree(voc / "VOC2012" / "Annotations")
    with pytest.raises(UserError, match="VOC2012 has no Annotations"):
        verify("voc", voc)
    (tmp_path / "bare").mkdir()
    shutil.copytree(voc / "VOC2007" / "JPEGImages", tmp_path / "bare" / "JPEGImages")
    with pytest.raises(UserError, match="it has no Annotations, ImageSets/Main"):
        verify("voc", tmp_path / "bare")
    shutil.rmtree(ade / "annotations" / "validation")
    with pytest.raises(UserError, match="annotations has no folder validation"):
        verify("ade20k", ade)


def test_unknown_kind(cls: Path):
    with pytest.raises(UserError, match=r"unknown data layout 'ade20'; did you mean 'ade20k'"):
        verify("ade20", cls)  # pyright: ignore[reportArgumentType]
    assert "known: none" in str(unknown("suite", "mini", []))


# ImageFolder


def test_imagefolder_problems(cls: Path):
    (cls / "train" / "notes.txt").write_text("ignored")
    (cls / "val" / "striped_square" / "Thumbs.db").write_text("ignored")
    assert verify("imagefolder", cls).problems == ()
    damaged = cls / "train" / "striped_square" / "000007.jpg"
    truncate(damaged)
    (cls / "val" / "dotted_cross").rename(cls / "val" / "doted_cross")
    next((cls / "val" / "checked_star").iterdir()).unlink()
    report = verify("imagefolder", cls)
    messages = {problem.path: problem.message for problem in report.errors}
    assert set(messages) == {
        damaged,
        cls / "train" / "dotted_cross",
        cls / "val" / "doted_cross",
        cls / "val" / "checked_star",
    }
    assert "does not decode" in messages[damaged]
    assert "truncated" in messages[damaged]
    assert "in train only" in messages[cls / "train" / "dotted_cross"]
    assert "in val only" in messages[cls / "val" / "doted_cross"]
    assert "has no image" in messages[cls / "val" / "checked_star"]
    with pytest.raises(UserError) as caught:
        report.raise_for_errors(shown=3)
    message = str(caught.value)
    assert "29 images" in message
    assert "4 errors, 0 repaired" in message
    assert "… and 1 more" in message
    assert "Fix or remove the files named here" in message


def test_other_modes_are_counted(cls: Path):
    path = cls / "train" / "striped_square" / "000007.jpg"
    Image.new("L", (32, 32)).save(path)
    report = verify("imagefolder", cls)
    assert report.counts["converted_to_rgb"] == 1
    report.raise_for_errors()


def test_counts_repairs_at_loading(voc: Path):
    tree = voc / "VOC2007"
    with Image.open(tree / "JPEGImages" / "000001.jpg") as picture:
        width, height = picture.size
        # A camera that lay on its side: stored across, shown upright.
        exif = Image.Exif()
        exif[0x0112] = 6
        across = picture.convert("RGB").rotate(90, expand=True)
        across.save(tree / "JPEGImages" / "000001.jpg", exif=exif)
    assert across.size == (height, width) != (width, height)
    with Image.open(tree / "JPEGImages" / "000002.jpg") as picture:
        picture.convert("L").save(tree / "JPEGImages" / "000002.jpg", format="PNG")
    report = verify("voc", voc)
    # The annotation states the size as shown.
    assert report.errors == ()
    counted = ("turned_upright", "converted_to_rgb", "of_another_format")
    assert [report.counts[name] for name in counted] == [1, 1, 1]


def test_headers_only_without_decoding(cls: Path):
    truncate(cls / "train" / "striped_square" / "000007.jpg")
    assert verify("imagefolder", cls, decode=False).problems == ()
    (cls / "train" / "striped_square" / "000007.jpg").write_text("not an image")
    assert "no image" in only(verify("imagefolder", cls, decode=False)).message


# VOC


def test_bare_tree(voc: Path):
    report = verify("voc", Path(shutil.move(voc / "VOC2007", voc.parent / "mine")))
    assert report.counts["images"] == 6
    assert report.problems == ()


@pytest.mark.parametrize(
    ("content", "severity", "message"),
    [
        (an_object((10, 10, 50, 50)), None, ""),
        (an_object((1, 1, 100, 80)), None, ""),
        (an_object((10, 10, 10, 50)), "repaired", "has no area; it is dropped"),
        (an_object((50, 50, 10, 10)), "repaired", "has no area; it is dropped"),
        (an_object((float("nan"), 1, 9, 9)), "repaired", "has no area; it is dropped"),
        (an_object((0, 10, 50, 50)), "repaired", "reaches beyond the 100×80 image; it is clipped"),
        (
            an_object((10, 10, 101, 50)),
            "repaired",
            "reaches beyond the 100×80 image; it is clipped",
        ),
        (an_object((101, 10, 120, 50)), "repaired", "lies outside the 100×80 image; it is dropped"),
        (an_object((-9, 1, 0, 9)), "repaired", "lies outside the 100×80 image; it is dropped"),
        (
            an_object((1, 1, 9, 9), "striped_elipse"),
            "error",
            "unknown class 'striped_elipse'; did you mean 'striped_ellipse'?",
        ),
        ("<object><name>striped_star</name></object>", "error", "unknown class 'striped_star'"),
        ("<object><name>dotted_cross</name></object>", "error", "missing corner"),
    ],
)
def test_voc_objects(voc: Path, content: str, severity: str | None, message: str):
    path = voc / "VOC2007" / "Annotations" / "000001.xml"
    write_annotation(path, content)
    problems = verify("voc", voc).problems
    if severity is None:
        assert problems == ()
        return
    assert (problems[0].path, problems[0].severity) == (path, severity)
    assert message in problems[0].message
    assert problems[0].message.startswith("object 1: ")


def test_voc_files(voc: Path):
    tree = voc / "VOC2007"
    truncate(tree / "JPEGImages" / "000001.jpg")
    (tree / "JPEGImages" / "000002.jpg").rename(tree / "JPEGImages" / "000002.png")
    (tree / "Annotations" / "000003.xml").write_text("<annotation><object></annotation>")
    (tree / "Annotations" / "000004.xml").unlink()
    write_annotation(tree / "Annotations" / "000005.xml", size=(0, 0))
    write_annotation(tree / "Annotations" / "000006.xml", size=(80, 100))
    report = verify("voc", voc)
    assert report.counts["images"] == 8
    messages = {problem.path.name: problem.message for problem in report.problems}
    assert "does not decode" in messages["000001.jpg"]
    assert "the image is missing" in messages["000002.jpg"]
    assert "There is 000002.png: rename it to .jpg" in messages["000002.jpg"]
    assert "is not XML (mismatched tag" in messages["000003.xml"]
    assert "has no annotation" in messages["000004.xml"]
    assert "<size> is 0×0; the image's own is used" in messages["000005.xml"]
    assert "<size> is 80×100 but the image is 100×80" in messages["000006.xml"]
    assert [problem.path.name for problem in report.repaired] == ["000005.xml"]
    assert len(report.problems) == 6


def test_voc_class_names(voc: Path):
    assert class_names("voc", voc) == SMALL.det_names()
    (voc / "classes.txt").unlink()
    assert set(class_names("voc", voc)) <= set(SMALL.det_names())
    assert list(class_names("voc", voc)) == sorted(class_names("voc", voc))
    for path in voc.glob("*/Annotations/*.xml"):
        # A person's <part> has a name as well, which is no class.
        part = "<part><name>head</name></part></object>"
        write_annotation(path, an_object((1, 1, 9, 9), "person").replace("</object>", part))
    assert class_names("voc", voc) == VOC_NAMES
    for path in voc.glob("*/Annotations/*.xml"):
        write_annotation(path)
    with pytest.raises(UserError, match=r"no annotation under .* has a named object"):
        class_names("voc", voc)
    for path in voc.glob("*/ImageSets/Main/*.txt"):
        path.write_text("\n")
    with pytest.raises(UserError, match="lists no image"):
        verify("voc", voc)


# ADE20K


def test_ade_files(ade: Path):
    images, labels = ade / "images" / "training", ade / "annotations" / "training"
    values = np.zeros((48, 64), np.uint8)
    values[0, 0], values[5, 5] = 17, 255
    Image.fromarray(values).save(labels / "ADE_train_00000001.png")
    Image.new("L", (48, 64)).save(labels / "ADE_train_00000002.png")
    (labels / "ADE_train_00000003.png").rename(labels / "stray.png")
    Image.new("RGB", (64, 48)).save(ade / "annotations" / "validation" / "ADE_val_00000001.png")
    truncate(ade / "annotations" / "validation" / "ADE_val_00000002.png")
    truncate(images / "ADE_train_00000003.jpg")
    report = verify("ade20k", ade)
    errors = [(problem.path.name, problem.message) for problem in report.errors]
    expected = [
        ("ADE_train_00000001.png", "holds 17, 255; allowed are 0 (no class) to 16"),
        ("ADE_train_00000002.png", "is 48×64 but its image is 64×48"),
        ("ADE_train_00000003.jpg", "does not decode"),
        ("ADE_train_00000003.png", "ADE_train_00000003.jpg has no label map"),
        ("ADE_val_00000001.png", "has mode RGB; expected one 8-bit channel"),
        ("ADE_val_00000002.png", "does not decode"),
    ]
    assert len(errors) == len(expected)
    for (name, message), (expected_name, part) in zip(errors, expected, strict=True):
        assert name == expected_name
        assert part in message
    (stray,) = report.repaired
    assert (stray.path.name, "has no image" in stray.message) == ("stray.png", True)


def test_palette_label_maps_count_by_index(ade: Path):
    path = ade / "annotations" / "training" / "ADE_train_00000001.png"
    picture = Image.fromarray(np.full((48, 64), 16, np.uint8))
    picture.putpalette(list(range(256)) * 3)
    assert picture.mode == "P"
    picture.save(path)
    assert verify("ade20k", ade).problems == ()


def test_ade_class_names(ade: Path):
    assert class_names("ade20k", ade) == SMALL.seg_names()
    (ade / "classes.txt").unlink()
    assert class_names("ade20k", ade) == SMALL.seg_names()
    (ade / "objectInfo150.txt").write_text(
        "Idx\tRatio\tTrain\tVal\tName\n1\t.1\t2\t3\tscreen, door\n2\t.1\t1\t1\tscreen\n"
        "3\t.1\t1\t1\tbuilding, edifice\n"
    )
    assert class_names("ade20k", ade) == ("screen, door", "screen", "building")
    (ade / "objectInfo150.txt").write_text("Idx\tName\n2\twall\n")
    with pytest.raises(UserError, match=r"line 2 is .*expected Idx 1 and a Name"):
        class_names("ade20k", ade)
    (ade / "objectInfo150.txt").write_text("1,wall\n")
    with pytest.raises(UserError, match="expected tab-separated columns with Idx and Name"):
        class_names("ade20k", ade)
    (ade / "objectInfo150.txt").unlink()
    with pytest.raises(UserError, match=r"does not say its class names: .*Add .*classes\.txt"):
        verify("ade20k", ade)


def test_classes_file(ade: Path):
    path = ade / "classes.txt"
    path.write_text("1\tsky\n2\ttall building\n\n")
    assert class_names("ade20k", ade) == ("sky", "tall building")
    path.write_text("0\tother\n1\tsky\n")
    with pytest.raises(UserError, match=r"numbers its classes \[0, 1\].*expected 1, 2, 3"):
        class_names("ade20k", ade)
    path.write_text("sky\nroad\nsky\n")
    with pytest.raises(UserError, match="names 'sky' twice"):
        class_names("ade20k", ade)
    path.write_text("\n")
    with pytest.raises(UserError, match="names no class"):
        class_names("ade20k", ade)


def test_progress(cls: Path):
    calls = []
    verify("imagefolder", cls, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (30, 30)


def test_leaked_split_is_an_error(cls, voc, ade):
    """Each test image is put among the training images under another name."""
    images = sorted((cls / "val").rglob("*.*g"))
    for number, image in enumerate(images):
        shutil.copy(image, cls / "train" / image.parent.name / f"leak{number}{image.suffix}")
    report = verify("imagefolder", cls)
    assert report.counts["test_images_trained_on"] == len(report.errors) == len(images)
    assert f"{len(images)} of {len(images)} test images are" in report.errors[0].message

    lists = voc / "VOC2007" / "ImageSets" / "Main"
    names = (lists / "test.txt").read_text().split()
    (lists / "trainval.txt").write_text("\n".join(names))
    assert verify("voc", voc).counts["test_images_trained_on"] == len(names)
    with pytest.raises(UserError, match="the test image is also trained on, as"):
        verify("voc", voc).raise_for_errors()

    for part, suffix in (("images", "jpg"), ("annotations", "png")):
        for path in (ade / part / "validation").glob(f"*.{suffix}"):
            shutil.copy(path, ade / part / "training" / f"leak_{path.name}")
    assert len(verify("ade20k", ade).errors) == verify("ade20k", ade).counts["validation_images"]


def test_few_leaked_images_are_a_note(cls):
    folder = cls / "val" / "striped_ellipse"
    image = next(folder.iterdir())
    for number in range(150):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"more{number}.png")
    shutil.copy(image, cls / "train" / "striped_ellipse" / f"twin{image.suffix}")
    report = verify("imagefolder", cls)
    assert not report.errors
    (problem,) = report.noted
    assert problem.path == image and "the few such pairs stay as they are" in problem.message
    report.raise_for_errors()


def test_different_images_of_one_size_do_not_leak(cls):
    assert verify("imagefolder", cls).counts["test_images_trained_on"] == 0


def test_tree_without_lists_is_split(voc: Path, tmp_path: Path):
    tree = tmp_path / "own"
    shutil.copytree(voc / "VOC2007", tree)
    shutil.rmtree(tree / "ImageSets")
    report = verify("voc", tree)
    assert report.errors == ()
    assert report.counts["images"] == len(list((tree / "Annotations").iterdir()))
    before = fingerprint("voc", tree)
    (tree / "Annotations" / "000001.xml").write_text("<annotation></annotation>")
    assert fingerprint("voc", tree) != before
