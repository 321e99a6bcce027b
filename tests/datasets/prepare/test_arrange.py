"""`data prepare` on small archives in the layouts of the real ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.prepare_world import (
    Preparing,
    ade_archives,
    check_second_call,
    cifar_archives,
    devkit,
    files_below,
    imagenet_archives,
    imagenette_archives,
    lay_out,
    picture,
    places_archives,
    tar_of,
    tgz_of,
    voc_archives,
)
from support.small_world import SMALL

from datasets.verify import class_names, verify


def test_voc(prepare: Preparing, pristine: Path):
    prepare.know("voc", voc_archives(pristine / "VOCdevkit"))
    text = prepare("voc")
    folder = prepare.root / "VOCdevkit"
    assert f"voc: the dataset is in {folder}." in text
    assert f"are kept in {prepare.root / 'archives'}; they may be removed." in text
    made = files_below(folder)
    del made[".prepared.json"]
    expected = files_below(pristine / "VOCdevkit")
    assert made == {name: content for name, content in expected.items() if "/" in name}
    report = verify("voc", folder)
    assert report.problems == ()
    assert report.counts["images"] == 8
    check_second_call(prepare, "voc")


def test_ade20k(prepare: Preparing, pristine: Path):
    prepare.know("ade20k", ade_archives(pristine / "ADEChallengeData2016"))
    prepare("ade20k")
    folder = prepare.root / "ADEChallengeData2016"
    report = verify("ade20k", folder)
    assert report.problems == ()
    assert report.counts["images"] == 5
    assert class_names("ade20k", folder) == SMALL.seg_names()
    check_second_call(prepare, "ade20k")


def test_several_imagefolders(prepare: Preparing):
    prepare.know("imagenette", imagenette_archives())
    prepare.know("cifar10", cifar_archives())
    prepare.know("places365", places_archives())
    prepare("imagenette", "cifar10", "places365", "cifar10")
    counts = {"imagenette2-320": (6, 2), "cifar10": (15, 3), "places365": (3, 2)}
    for folder, (train, val) in counts.items():
        report = verify("imagefolder", prepare.root / folder)
        assert report.problems == ()
        assert (report.counts["train_images"], report.counts["val_images"]) == (train, val)
    places = prepare.root / "places365"
    assert class_names("imagefolder", places) == ("airfield", "apartment_building-outdoor")
    for name, seed in {
        "train/airfield/00000001.jpg": 11,
        "train/apartment_building-outdoor/00000002.jpg": 13,
        "val/apartment_building-outdoor/Places365_val_00000001.jpg": 1,
        "val/airfield/Places365_val_00000002.jpg": 2,
    }.items():
        assert (places / name).read_bytes() == picture(seed)
    for name in ("imagenette", "cifar10", "places365"):
        check_second_call(prepare, name)


def test_imagenet(prepare: Preparing, tmp_path: Path):
    prepare.know("imagenet", imagenet_archives())
    own = tmp_path / "own"
    lay_out(own, "imagenet", imagenet_archives())
    text = prepare("imagenet", "--archives", str(own))
    assert "kept" not in text
    folder = prepare.root / "imagenet"
    made = files_below(folder)
    del made[".prepared.json"]
    # Labels 2, 1, 1 are ids of the devkit: 2 is the tench and 1 the kit fox.
    assert made == {
        "devkit_classes.tsv": b"1\tn02119789\tkit fox\n2\tn01440764\ttench\n",
        "val/n01440764/ILSVRC2012_val_00000001.JPEG": picture(1),
        "val/n02119789/ILSVRC2012_val_00000002.JPEG": picture(2),
        "val/n02119789/ILSVRC2012_val_00000003.JPEG": picture(3),
        "train/n01440764/n01440764_1.JPEG": picture(51),
        "train/n01440764/n01440764_2.JPEG": picture(52),
        "train/n02119789/n02119789_1.JPEG": picture(71),
        "train/n02119789/n02119789_2.JPEG": picture(72),
    }
    assert verify("imagefolder", folder).problems == ()
    assert class_names("imagefolder", folder) == ("n01440764", "n02119789")
    assert not (prepare.root / "archives").exists()
    check_second_call(prepare, "imagenet")


def test_imagenet_archives_in_root(prepare: Preparing):
    prepare.know("imagenet", imagenet_archives())
    text = prepare.fail("imagenet")
    assert (
        f"{prepare.root} does not hold ILSVRC2012_devkit_t12.tar.gz, ILSVRC2012_img_val.tar" in text
    )
    assert "get them from https://www.image-net.org/download.php and name the folder" in text
    lay_out(prepare.root, "imagenet", imagenet_archives())
    (prepare.root / "archives").mkdir()
    name = "ILSVRC2012_img_val.tar"
    (prepare.root / name).rename(prepare.root / "archives" / name)
    prepare("imagenet")
    assert verify("imagefolder", prepare.root / "imagenet").problems == ()


@pytest.mark.parametrize(
    ("role", "content", "fault"),
    [
        ("devkit", devkit(labels=b"2\n3\n1\n"), r"labels that are no class ids \(\[3\]\)"),
        ("devkit", devkit(labels=b"2\n1\n"), "val_00000003.JPEG; expected ILSVRC2012_val_00000001"),
        (
            "devkit",
            tgz_of({"readme.txt": b""}),
            "does not contain ILSVRC2012_devkit_t12/data/meta.mat",
        ),
        ("train", tar_of({"n99999999.tar": tar_of({"a.JPEG": b""})}), "holds n99999999/a.JPEG;"),
        ("val", tar_of({"cat.JPEG": b""}), "holds cat.JPEG; expected"),
    ],
)
def test_malformed_imagenet_archives(prepare: Preparing, role: str, content: bytes, fault: str):
    contents = {**imagenet_archives(), role: content}
    prepare.know("imagenet", contents)
    lay_out(prepare.root / "archives", "imagenet", contents)
    assert re.search(fault, prepare.fail("imagenet"))
    assert prepare.left == []


@pytest.mark.parametrize(
    ("contents", "fault"),
    [
        (places_archives(categories=b"/a/../x 0\n"), "has the category '/a/../x'"),
        (places_archives(categories=b"/a/airfield 0\n"), "gives no category"),
        (
            {**places_archives(), "lists": tar_of({"x": b""})},
            "does not contain categories_places365.txt",
        ),
        (
            {**places_archives(), "train": tar_of({"data_256/z/zoo/1.jpg": b""})},
            "holds data_256/z/zoo/1.jpg, which is in none of the categories",
        ),
    ],
)
def test_malformed_places365_archives(prepare: Preparing, contents: dict[str, bytes], fault: str):
    prepare.know("places365", contents)
    assert fault in prepare.fail("places365")
    assert prepare.left == []
