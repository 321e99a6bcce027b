"""A dataset is listed once; a change of it is noticed."""

import os
from collections import Counter
from pathlib import Path

import pytest

from datasets import listing
from datasets.fingerprint import fingerprint
from datasets.layouts import imagefolder
from datasets.layouts.imagefolder import Folder
from datasets.verify import inspect


@pytest.fixture
def large(cls: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set that counts as large, and was last changed an hour ago."""
    monkeypatch.setattr(listing, "MANY_FILES", 10)
    settle(cls)
    return cls


def settle(root: Path) -> None:
    """Date the folders back: right after a change, a second one might not show."""
    for parent, _, _ in os.walk(root):
        an_hour_ago = os.stat(parent).st_mtime - 3600
        os.utime(parent, (an_hour_ago, an_hour_ago))


@pytest.fixture
def questions(large: Path, monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Counts the questions to the file system about the set, by kind."""
    counted: Counter = Counter()

    def counting(name, function):
        def ask(path=".", *args, **kwargs):
            if str(path).startswith(str(large)):
                counted[name, os.path.splitext(str(path))[1]] += 1
            return function(path, *args, **kwargs)

        return ask

    for name in ("stat", "scandir"):
        monkeypatch.setattr(os, name, counting(name, getattr(os, name)))
    return counted


def test_second_command_asks_for_folders_and_a_sample(large, questions, tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "SAMPLE", 3)
    images = len(list(large.rglob("*.jpg")))
    folders = 2 + len(list(large.glob("*/*")))
    first = fingerprint("imagefolder", large, cache_dir=tmp_path / "cache")
    assert questions["stat", ".jpg"] == images
    questions.clear()
    assert fingerprint("imagefolder", large, cache_dir=tmp_path / "cache") == first
    assert questions["stat", ".jpg"] == 3
    # The check of the layout reads the root and its two splits.
    assert questions["scandir", ""] <= 3
    assert questions["stat", ""] <= folders + 20


def test_inspection_walks_once(large, questions, tmp_path):
    """Identity, fingerprint, count and check share one listing."""
    arguments = dict(most_images_to_decode=0, cache_dir=tmp_path / "cache")
    report, found = inspect("imagefolder", large, **arguments)
    images = report.counts["images"]
    questions.clear()
    assert inspect("imagefolder", large, **arguments) == (report, found)
    assert 0 < questions["stat", ".jpg"] <= images


@pytest.mark.parametrize("change", ["add", "remove", "rename", "replace", "new class"])
def test_changed_folder_is_noticed(large, tmp_path, monkeypatch, change):
    monkeypatch.setattr(listing, "SAMPLE", 0)
    paths, cache = imagefolder.data_paths(large), tmp_path / "cache"
    first = fingerprint("imagefolder", large, cache_dir=cache)
    assert listing.current("imagefolder", large, paths, cache).kept
    image = next((large / "train").glob("*/*.jpg"))
    if change == "add":
        (image.parent / "further.jpg").write_bytes(b"x")
    elif change == "remove":
        image.unlink()
    elif change == "rename":
        image.rename(image.with_name("other.jpg"))
    elif change == "replace":
        (tmp_path / "new.jpg").write_bytes(b"x" * 9)
        os.replace(tmp_path / "new.jpg", image)
    else:
        (large / "train" / "new").mkdir()
    assert not listing.current("imagefolder", large, paths, cache).kept
    changed = fingerprint("imagefolder", large, cache_dir=cache)
    assert (changed != first) == (change != "new class")
    assert changed == fingerprint("imagefolder", large)


def test_overwritten_files_are_noticed(large, tmp_path, monkeypatch):
    paths, cache = imagefolder.data_paths(large), tmp_path / "cache"
    first = fingerprint("imagefolder", large, cache_dir=cache)
    image = next((large / "train").glob("*/*.jpg"))
    image.write_bytes(image.read_bytes() + b"x")
    # The sample is larger than the set, so it has the file.
    assert not listing.current("imagefolder", large, paths, cache).kept
    monkeypatch.setattr(listing, "SAMPLE", 0)
    assert listing.current("imagefolder", large, paths, cache).kept
    monkeypatch.setattr(listing, "MOST_SECONDS", 0)
    assert fingerprint("imagefolder", large, cache_dir=cache) != first


def test_note_on_the_making_is_noticed(large, tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "SAMPLE", 0)
    cache = tmp_path / "cache"
    found = {fingerprint("imagefolder", large, cache_dir=cache)}
    for content in ("{}", '{"short_side": 9}'):
        (large / "made.json").write_text(content)
        found.add(fingerprint("imagefolder", large, cache_dir=cache))
    (large / "made.json").unlink()
    found.add(fingerprint("imagefolder", large, cache_dir=cache))
    assert len(found) == 3


def test_small_or_fresh_set_is_walked(cls, tmp_path, monkeypatch):
    paths, cache = imagefolder.data_paths(cls), tmp_path / "cache"
    settle(cls)
    fingerprint("imagefolder", cls, cache_dir=cache)
    assert not listing.current("imagefolder", cls, paths, cache).kept
    monkeypatch.setattr(listing, "MANY_FILES", 10)
    assert listing.current("imagefolder", cls, paths, cache).kept
    (cls / "train").touch()
    fingerprint("imagefolder", cls, cache_dir=cache)
    assert not listing.current("imagefolder", cls, paths, cache).kept


def test_run_reads_the_listing_of_its_command(large, questions, tmp_path, monkeypatch):
    deep = large / "train" / "striped_square"
    for name in ("z/one.jpg", "z-b/two.jpg", ".hidden/three.jpg", "z/.four.jpg", "note.txt"):
        (deep / name).parent.mkdir(exist_ok=True)
        (deep / name).write_bytes(b"x")
    settle(large)
    expected = [(s.image, s.label) for s in Folder(large / "train").samples()]
    assert {"one.jpg", "two.jpg"} < {path.name for path, _ in expected}
    fingerprint("imagefolder", large, cache_dir=tmp_path / "cache")
    monkeypatch.setenv(listing.VARIABLE, str(tmp_path / "cache"))
    questions.clear()
    assert [(s.image, s.label) for s in Folder(large / "train").samples()] == expected
    assert questions["scandir", ""] == 1
    assert questions["stat", ".jpg"] == 0
    (deep / "z" / "five.jpg").write_bytes(b"x")
    assert len(Folder(large / "train").samples()) == len(expected) + 1


def test_damaged_listing_is_replaced(large, tmp_path):
    paths, cache = imagefolder.data_paths(large), tmp_path / "cache"
    first = fingerprint("imagefolder", large, cache_dir=cache)
    file = listing.file_of("imagefolder", large, cache)
    for content in (b"", file.read_bytes()[:300]):
        file.write_bytes(content)
        assert not listing.current("imagefolder", large, paths, cache).kept
        assert fingerprint("imagefolder", large, cache_dir=cache) == first


def test_broken_link_does_not_stop_the_listing(large, tmp_path):
    (large / "train" / "striped_square" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    assert fingerprint("imagefolder", large)
