"""The inputs of a dataset's fingerprint, and its cache."""

import shutil
from pathlib import Path

import pytest
from PIL import Image
from support.small_world import an_object, only, truncate, write_annotation

from contract.errors import UserError
from datasets.fingerprint import fingerprint
from datasets.verify import class_names, verify


def test_follows_content_not_location(
    voc: Path, pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = fingerprint("voc", pristine / "VOCdevkit")
    assert fingerprint("voc", voc) == first
    monkeypatch.chdir(voc)
    assert fingerprint("voc", Path(".")) == first
    (voc / "VOC2007" / ".DS_Store").write_text("not data")
    assert fingerprint("voc", voc) == first
    path = voc / "VOC2007" / "Annotations" / "000001.xml"
    path.write_text(path.read_text().replace("<difficult>0", "<difficult>1"))
    changed = fingerprint("voc", voc)
    assert changed != first
    path.rename(path.with_name("renamed.xml"))
    assert fingerprint("voc", voc) not in (first, changed)


def test_large_sets_use_name_and_size(cls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("datasets.fingerprint.CONTENT_LIMIT_BYTES", 10)
    cache = tmp_path / "cache"
    first = fingerprint("imagefolder", cls, cache_dir=cache)
    assert verify("imagefolder", cls, cache_dir=cache).problems == ()
    path = cls / "train" / "striped_square" / "000007.jpg"
    path.write_bytes(b"x" * path.stat().st_size)
    assert fingerprint("imagefolder", cls, cache_dir=cache) == first
    # The report is not taken from the cache, since the file's time has changed.
    assert "does not decode" in only(verify("imagefolder", cls, cache_dir=cache)).message
    path.write_bytes(b"x")
    assert fingerprint("imagefolder", cls, cache_dir=cache) != first


def test_cache_follows_changes(voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache = tmp_path / "cache"
    write_annotation(voc / "VOC2007" / "Annotations" / "000001.xml", an_object((1, 1, 1, 1)))
    first = verify("voc", voc, cache_dir=cache)
    names = class_names("voc", voc, cache_dir=cache)
    mark = fingerprint("voc", voc, cache_dir=cache)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda _: pytest.fail("the content was read again"))
        patch.setattr(Image, "open", lambda _: pytest.fail("an image was read again"))
        assert verify("voc", voc, cache_dir=cache) == first
        assert class_names("voc", voc, cache_dir=cache) == names
        assert fingerprint("voc", voc, cache_dir=cache) == mark
    moved = Path(shutil.move(voc, tmp_path / "elsewhere"))
    again = verify("voc", moved, cache_dir=cache)
    assert only(again).path == moved / "VOC2007" / "Annotations" / "000001.xml"
    truncate(moved / "VOC2007" / "JPEGImages" / "000001.jpg")
    assert len(verify("voc", moved, cache_dir=cache).problems) == 2
    assert not list(moved.rglob("*.json"))
    for path in cache.iterdir():
        path.write_text("{")
    assert len(verify("voc", moved, cache_dir=cache).problems) == 2


def test_unwritable_cache(cls: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"can't write .*file/fingerprint-.*make the folder"):
        fingerprint("imagefolder", cls, cache_dir=tmp_path / "file")


@pytest.mark.parametrize("suffix", ["xml", "txt", "json", "mat", "npy", "csv"])
def test_covers_every_annotation_kind(voc: Path, ade: Path, suffix: str):
    for kind, folder in (
        ("voc", voc / "VOC2012" / "Annotations"),
        ("ade20k", ade / "annotations" / "training"),
    ):
        root = {"voc": voc, "ade20k": ade}[kind]
        before = fingerprint(kind, root)  # pyright: ignore[reportArgumentType]
        (folder / f"further.{suffix}").write_text("one")
        added = fingerprint(kind, root)  # pyright: ignore[reportArgumentType]
        (folder / f"further.{suffix}").write_text("two")
        assert len({before, added, fingerprint(kind, root)}) == 3  # pyright: ignore[reportArgumentType]


def test_coco_covers_images_and_annotations(tmp_path: Path):
    for number, place in enumerate(("train2017", "images/train2017", "images", ".")):
        root = tmp_path / str(number)
        (root / "annotations").mkdir(parents=True)
        (root / place).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(root / place / "a.png")
        for split in ("train2017", "val2017"):
            (root / "annotations" / f"instances_{split}.json").write_text("not read")
        found = {fingerprint("coco", root)}
        Image.new("RGB", (9, 9), (1, 2, 3)).save(root / place / "a.png")
        found.add(fingerprint("coco", root))
        (root / "annotations" / "instances_val2017.json").write_text("changed")
        found.add(fingerprint("coco", root))
        assert len(found) == 3, place
