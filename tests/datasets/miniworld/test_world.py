"""The generated world: repeatable files, correct labels, and classes that need both shape and texture."""

import hashlib
import json
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract.errors import UserError
from datasets.miniworld import PRESETS, MiniworldSpec, generate, prepare
from datasets.miniworld.__main__ import main
from datasets.miniworld.appearance import (
    BASE_CLASSES,
    distractor_appearances,
    object_appearance,
)
from datasets.miniworld.compose import Scene, object_boxes
from datasets.miniworld.files import Job, draw, voc_image_id
from datasets.miniworld.scene import CLUTTER, Canvas, Pose, paint_appearance
from datasets.verify import class_names, verify

TINY = MiniworldSpec(
    cls_train_images=60,
    cls_val_images=20,
    cls_size=32,
    det_trainval_images=12,
    det_trainval_images_2012=6,
    det_test_images=8,
    det_size=(128, 96),
    seg_train_images=8,
    seg_val_images=5,
    seg_size=(96, 80),
)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(TINY, tmp_path_factory.mktemp("data") / "tiny", processes=1)


def test_files_are_independent_of_processes(world: Path, tmp_path: Path):
    again = generate(TINY, tmp_path / "again", processes=2)
    assert digests(again) == digests(world)
    other = generate(replace(TINY, seed=1), tmp_path / "other", processes=1)
    same = set(digests(other).items()) & set(digests(world).items())
    assert {name for name, _ in same if name.endswith((".png", ".jpg"))} == set()


def test_more_images_keep_earlier_ones():
    more = replace(TINY, cls_train_images=600, det_trainval_images=99)
    for split in ("cls/train", "VOC2007/test", "ade/training"):
        job = Job(split, 3)
        np.testing.assert_array_equal(draw(TINY, job).image, draw(more, job).image)


def test_passes_verification(world: Path):
    reports = (
        verify("imagefolder", world / "cls"),
        verify("voc", world / "VOCdevkit"),
        verify("ade20k", world / "ADEChallengeData2016"),
    )
    assert [report.problems for report in reports] == [(), (), ()]
    assert [report.counts["images"] for report in reports] == [80, 26, 13]


def test_object_classes_agree_across_sets(world: Path):
    det = class_names("voc", world / "VOCdevkit")
    seg = class_names("ade20k", world / "ADEChallengeData2016")
    assert set(class_names("imagefolder", world / "cls")) == set(det)
    assert seg[TINY.seg_stuff_classes :] == det
    assert len(set(seg)) == 16


def test_boxes_are_extents_of_instances(world: Path):
    checked = 0
    for split, year in (("VOC2007/trainval", "VOC2007"), ("VOC2012/trainval", "VOC2012")):
        for index in range(6):
            job = Job(split, index)
            owner = draw(TINY, job).canvas.owner
            instances = draw(TINY, job).canvas.instances
            expected = []
            for number, instance in enumerate(instances, start=1):
                rows, columns = np.where(owner == number)
                if len(rows) >= 16:
                    corners = (columns.min() + 1, rows.min() + 1, columns.max() + 1, rows.max() + 1)
                    name = TINY.det_names()[instance.class_index]
                    expected.append((name, *map(int, corners)))
            path = world / "VOCdevkit" / year / "Annotations" / f"{voc_image_id(TINY, job)}.xml"
            root = ET.parse(path).getroot()
            got = [
                (
                    node.findtext("name"),
                    *(int(corner.text or "") for corner in node.find("bndbox") or ()),
                )
                for node in root.iter("object")
            ]
            assert got == expected
            assert (root.findtext("size/width"), root.findtext("size/height")) == ("128", "96")
            checked += len(expected)
    assert checked > 20


def test_voc_lists(world: Path):
    main = world / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main"
    lists = {path.stem: path.read_text().split() for path in main.glob("*.txt")}
    assert lists["trainval"] == lists["train"] + lists["val"]
    assert not set(lists["trainval"]) & set(lists["test"])
    assert {name: len(ids) for name, ids in lists.items()} == {
        "trainval": 12,
        "train": 6,
        "val": 6,
        "test": 8,
    }
    with Image.open(main.parents[1] / "JPEGImages" / "000001.jpg") as image:
        assert (image.size, image.format) == ((128, 96), "JPEG")


def test_label_maps_match_owners(world: Path):
    folder = world / "ADEChallengeData2016" / "annotations" / "training"
    zeros = 0
    for index in range(TINY.seg_train_images):
        labels = np.asarray(Image.open(folder / f"ADE_train_{index + 1:08d}.png"))
        canvas = draw(TINY, Job("ade/training", index)).canvas
        assert labels.dtype == np.uint8
        for y, x in np.random.default_rng(index).integers(0, (80, 96), (200, 2)):
            owner = int(canvas.owner[y, x])
            if owner == CLUTTER:
                expected = 0
            elif owner == 0:
                expected = canvas.stuff[y, x] + 1
            else:
                expected = TINY.seg_stuff_classes + 1 + canvas.instances[owner - 1].class_index
            assert labels[y, x] == expected
        zeros += np.count_nonzero(labels == 0)
    assert zeros > 0


def test_object_info_table_counts(world: Path):
    ade = world / "ADEChallengeData2016"
    rows = [line.split("\t") for line in (ade / "objectInfo150.txt").read_text().splitlines()]
    assert rows[0] == ["Idx", "Ratio", "Train", "Val", "Stuff", "Name"]
    maps = [np.asarray(Image.open(path)) for path in (ade / "annotations/training").iterdir()]
    for index, ratio, train, _, stuff, name in rows[1:]:
        label = int(index)
        assert int(train) == sum((labels == label).any() for labels in maps)
        assert float(ratio) == pytest.approx(np.mean(np.stack(maps) == label), abs=1e-4)
        assert (stuff == "1") == (label <= 6)
        assert name == TINY.seg_names()[label - 1]


def test_shape_and_texture_alone_are_ambiguous():
    classes = [object_appearance(index) for index in range(BASE_CLASSES)]
    assert len({(a.shape, a.texture) for a in classes}) == 10
    for counts in (Counter(a.shape for a in classes), Counter(a.texture for a in classes)):
        assert min(counts.values()) >= 2
    pairs = {(a.shape, a.texture) for a in distractor_appearances()}
    assert len(pairs) == 10
    everything = [object_appearance(index) for index in range(1000)]
    assert not pairs & {(a.shape, a.texture) for a in everything}
    assert len(set(everything)) > 800


def test_distractors_are_unlabelled():
    canvas = Canvas(64, 64)
    rng = np.random.default_rng(0)
    pose = Pose((32.0, 32.0), 20.0, 0.0)
    paint_appearance(canvas, rng, distractor_appearances()[0], pose, class_index=None)
    scene = Scene(np.zeros((64, 64, 3), np.uint8), canvas)
    assert np.count_nonzero(canvas.owner == CLUTTER) > 300
    assert object_boxes(scene) == []
    labels = scene.label_map(stuff_classes=6)
    assert set(np.unique(labels)) == {0, 1}


@pytest.mark.parametrize(
    ("centre", "truncated", "difficult"),
    [((32.0, 32.0), False, False), ((64.0, 32.0), True, False), ((72.0, 32.0), True, True)],
)
def test_truncated_and_difficult(centre: tuple[float, float], truncated: bool, difficult: bool):
    canvas = Canvas(64, 64)
    pose = Pose(centre, 16.0, 0.0)
    paint_appearance(canvas, np.random.default_rng(0), object_appearance(0), pose, class_index=0)
    (found,) = object_boxes(Scene(np.zeros((64, 64, 3), np.uint8), canvas))
    assert (found.truncated, found.difficult, found.occluded) == (truncated, difficult, False)


def test_occlusion_and_difficult_thresholds():
    flags = []
    for shift in (60.0, 20.0, 9.0, 0.0):
        canvas = Canvas(128, 128)
        rng = np.random.default_rng(0)
        disc = object_appearance(0)
        paint_appearance(canvas, rng, disc, Pose((40.0, 64.0), 16.0, 0.0), class_index=0)
        paint_appearance(canvas, rng, disc, Pose((40.0 + shift, 64.0), 16.0, 0.0), class_index=0)
        boxes = object_boxes(Scene(np.zeros((128, 128, 3), np.uint8), canvas))
        flags.append((boxes[0].occluded, boxes[0].difficult) if len(boxes) == 2 else None)
    assert flags == [(False, False), (True, False), (True, True), None]


def test_color_is_uninformative():
    spec = replace(TINY, cls_train_images=1000)
    scenes = [draw(spec, Job("cls/train", index)) for index in range(1000)]
    colours = np.array([s.image[s.instance_mask(0)].mean(axis=0) for s in scenes])
    labels = np.arange(1000) % 10
    train, test = np.arange(1000) < 500, np.arange(1000) >= 500
    centroids = np.stack([colours[train & (labels == label)].mean(axis=0) for label in range(10)])
    distances = np.linalg.norm(colours[test][:, None] - centroids, axis=2)
    accuracy = np.mean(distances.argmin(axis=1) == labels[test])
    # Chance is 10%, with a standard deviation of 1.3% over 500 images.
    assert accuracy < 0.15


def test_cls_object_dominates():
    spec = replace(TINY, cls_size=64)
    sides = []
    for index in range(100):
        (found,) = object_boxes(draw(spec, Job("cls/train", index)))
        sides.append(max(found.box[2] - found.box[0], found.box[3] - found.box[1]) / 64)
    assert min(sides) > 0.3
    assert 0.5 < np.mean(sides) < 0.75


def test_second_call_returns_at_once(tmp_path: Path):
    small = replace(TINY, cls_train_images=10, cls_val_images=10, det_test_images=1)
    folder = generate(small, tmp_path / "world", processes=1)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    generate(small, folder, processes=1)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    generate(replace(small, cls_train_images=20), folder, processes=1)
    assert len(list(folder.glob("cls/train/*/*.jpg"))) == 20
    assert [path.name for path in tmp_path.iterdir()] == ["world"]
    assert json.loads((folder / "miniworld.json").read_text())["spec"]["cls_train_images"] == 20


def test_killed_run_leaves_no_world(tmp_path: Path):
    small = replace(TINY, cls_train_images=60, cls_val_images=10)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(small, tmp_path / "world", processes=1, progress=stop)
    assert list(tmp_path.iterdir()) == []
    # No process has a number this high, so the folder is from a run that was killed.
    (tmp_path / ".world.partial-999999999" / "cls").mkdir(parents=True)
    generate(small, tmp_path / "world", processes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["world"]


def test_foreign_folder_is_untouched(tmp_path: Path):
    (tmp_path / "mini-smoke").mkdir()
    (tmp_path / "mini-smoke" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match=r"was not generated \(it has no miniworld.json\)"):
        prepare("mini-smoke", tmp_path)
    assert (tmp_path / "mini-smoke" / "thesis.txt").read_text() == "precious"


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("datasets.miniworld.files.write_image", full)
    with pytest.raises(UserError, match=r"No space left on device\. .*free some space"):
        generate(TINY, tmp_path / "world", processes=1)
    assert list(tmp_path.iterdir()) == []


def test_unknown_preset_and_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(UserError, match=r"unknown miniworld preset 'mimi'; did you mean 'mini'"):
        prepare("mimi", tmp_path)
    with pytest.raises(UserError, match="got 0 processes; expected 1 or more"):
        prepare("mini", tmp_path, processes=0)
    assert main(["--preset", "mimi", "--root", str(tmp_path)]) == 2
    assert "did you mean 'mini'?" in capsys.readouterr().err


def test_presets_have_full_class_lists():
    full = PRESETS["fullsize-smoke"]
    assert (len(full.cls_names()), len(full.det_names()), len(full.seg_names())) == (1000, 20, 150)
    for spec in PRESETS.values():
        for names in (spec.cls_names(), spec.det_names(), spec.seg_names()):
            assert len(set(names)) == len(names)
        assert spec.cls_val_images >= spec.cls_classes
    assert len({spec.digest() for spec in PRESETS.values()}) == len(PRESETS)


def test_contact_sheet(tmp_path: Path):
    assert main(["--preset", "mini-smoke", "--sheet", str(tmp_path / "sheet.png")]) == 0
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.size == (1440, 1728)
