"""How often annotations are read: once in a check, once in a training, never for a cached answer."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.dataset_trees import VocTree

import engine  # noqa: F401  (it stands in for mmcv's compiled ops, which mmdet wants)
from datasets.fingerprint import fingerprint
from datasets.layouts import coco_json, kind_of, layout_of, voc_xml
from datasets.verify import class_names, inspect, verify

NAMES = [f"{number:03d}" for number in range(10)]
TEST_NAMES = ["100", "101"]


@pytest.fixture
def reads(monkeypatch) -> Counter:
    """Count the reads of each annotation file."""
    counted: Counter = Counter()
    parse, content = voc_xml.parse, coco_json._content

    def count_xml(data: bytes):
        counted[data] += 1
        return parse(data)

    def count_json(path: Path):
        counted[path] += 1
        return content(path)

    monkeypatch.setattr(voc_xml, "parse", count_xml)
    monkeypatch.setattr(coco_json, "_content", count_json)
    _new_process()
    return counted


def _new_process() -> None:
    """Forget what was read, like a new process."""
    voc_xml._parsed.cache_clear()
    coco_json._read.cache_clear()


def _pixels(number: int) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(params=["voc", "coco"])
def detection(request, tmp_path) -> Path:
    """A set with class names in its annotations only; each XML file differs from all others."""
    root = tmp_path / request.param
    if request.param == "voc":
        tree = VocTree(root)
        for number, name in enumerate([*NAMES, *TEST_NAMES]):
            tree.add(name, (48, 40), [("cat", 5, 5, 30, 20 + number)])
            _pixels(number).save(root / "JPEGImages" / f"{name}.jpg")
        return tree.split("trainval", NAMES).split("test", TEST_NAMES).root
    (root / "annotations").mkdir(parents=True)
    for split, names in (("train", NAMES), ("val", TEST_NAMES)):
        (root / split).mkdir()
        for name in names:
            _pixels(int(name)).save(root / split / f"{name}.jpg")
        content = {
            "images": [
                {"id": name, "file_name": f"{name}.jpg", "width": 48, "height": 40}
                for name in names
            ],
            "annotations": [
                {"id": name, "image_id": name, "category_id": 1, "bbox": [2, 2, 30, 30]}
                for name in names
            ],
            "categories": [{"id": 1, "name": "cat"}],
        }
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def _inspect(kind, root: Path, folder: Path, most=100):
    """The checks of a suite before a run."""
    return inspect(kind, root, most_images_to_decode=most, cache_dir=folder / "cache")


def _files(root: Path) -> int:
    return len(list(root.rglob("*.xml"))) or len(list(root.rglob("*.json")))


@pytest.mark.parametrize("decode", [True, False])
def test_check_reads_once(detection, reads, decode):
    kind = kind_of(detection, "det")
    assert verify(kind, detection, decode=decode).problems == ()
    assert set(reads.values()) == {1}
    assert len(reads) == _files(detection)


def _record_checks(monkeypatch, kind) -> list[bool]:
    """Return a list that gets an entry for each check: whether it decodes images."""
    layout, checks = layout_of(kind), []
    check = layout.check
    monkeypatch.setattr(layout, "check", lambda *words: checks.append(words[1]) or check(*words))
    return checks


def test_suite_check_and_plan_read_once(detection, reads, tmp_path, monkeypatch):
    kind = kind_of(detection, "det")
    checks = _record_checks(monkeypatch, kind)
    found = _inspect(kind, detection, tmp_path)
    assert found[0].problems == ()
    assert (checks, set(reads.values()), len(reads)) == ([True], {1}, _files(detection))
    names = class_names(kind, detection, cache_dir=tmp_path / "cache")
    # A later command is another process.
    _new_process()
    reads.clear()
    assert _inspect(kind_of(detection, "det"), detection, tmp_path) == found
    assert class_names(kind, detection, cache_dir=tmp_path / "cache") == names
    assert (checks, reads) == ([True], {})


@pytest.mark.parametrize("most", [11, 12])
def test_image_count_decides_decoding(detection, tmp_path, monkeypatch, most):
    kind = kind_of(detection, "det")
    checks = _record_checks(monkeypatch, kind)
    _inspect(kind, detection, tmp_path, most)
    assert checks == [most == 12]


def test_finding_and_fingerprint_read_nothing(detection, reads, tmp_path):
    fingerprint(kind_of(detection, "det"), detection, cache_dir=tmp_path / "cache")
    layout_of(kind_of(detection, "det")).data_paths(detection)
    assert reads == {}


@pytest.mark.parametrize("tricks", [(), ("holdout",)])
def test_training_reads_once(detection, reads, tmp_path, tricks):
    from mmengine.registry import DATASETS, DefaultScope

    from det.train import Detection
    from engine.cli import Options
    from engine.job import resolve_job
    from engine.task import prepare

    options = Options(
        "mini", tmp_path / "work", detection, "resnet10_d-w8", precision="fp32", tricks=tricks
    )
    config = prepare(Detection(), resolve_job(options))
    with DefaultScope.overwrite_default_scope("mmdet"):
        for loader in (config.train_dataloader, config.val_dataloader):
            assert len(DATASETS.build(loader.dataset)) > 0
    assert set(reads.values()) == {1}
    assert len(reads) == _files(detection)


def test_changed_annotation_is_reread(detection, reads):
    kind = kind_of(detection, "det")
    assert layout_of(kind).classes(detection) == ("cat",) or kind == "voc"
    for path in (*detection.rglob("*.xml"), *detection.rglob("*.json")):
        text = path.read_text().replace(">cat<", ">zebra<").replace('"cat"', '"zebra"')
        path.write_text(text)
    assert layout_of(kind).classes(detection) == ("zebra",)
