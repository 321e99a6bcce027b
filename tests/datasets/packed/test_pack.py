"""Packing an image folder and back, and what other programs read."""

import gc
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from support.conversion import contents, packed_copy, printed, quiet, unpacked_copy

from contract.errors import UserError
from datasets.convert import pack as packing
from datasets.convert.pack import pack
from datasets.convert.unpack import unpack
from datasets.layouts.imagefolder import Folder, open_split
from datasets.packed.index import read_index

ODD_NAMES = (
    "two.dots.jpg",
    "UPPER.JPEG",
    "UPPER.jpg",
    "per%cent%2Edot.jpg",
    "per%cent.dot.jpg",
    "space and ü.jpg",
    "deeper.folder/inner.jpg",
    f"{'long' * 40}.jpg",
    os.fsdecode(b"latin-\xe9.jpg"),
)


@pytest.fixture
def odd(cls: Path) -> Path:
    """A set with names that a tar file or WebDataset could confuse, and with other files."""
    some = sorted((cls / "train").glob("*/*.jpg"))
    for image, name in zip(some, ODD_NAMES, strict=False):
        (image.parent / name).parent.mkdir(exist_ok=True)
        shutil.copy(image, image.parent / name)
    (cls / "devkit_classes.tsv").write_text("1\tn0\n")
    (cls / ".prepared.json").write_text("{}")
    (cls / "train" / "striped_square" / "notes.txt").write_text("not an image")
    return cls


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MIB", 8192)


def test_comes_back_byte_by_byte(odd, small_shards, tmp_path):
    packed = packed_copy(odd, tmp_path / "packed")
    assert len(list((packed / "train").glob("*.tar"))) > 1
    assert contents(unpacked_copy(packed, tmp_path / "back")) == contents(odd)


def test_samples_keep_number_label_and_bytes(odd, small_shards, tmp_path):
    packed = packed_copy(odd, tmp_path / "packed")
    for split in ("train", "val"):
        before, after = Folder(odd / split), open_split(packed / split)
        assert after.classes() == before.classes()
        assert after.names() == before.names()
        expected, found = before.samples(), after.samples()
        assert len(found) == len(expected) > 0
        for index in range(len(expected)):
            assert found.read(index) == Path(expected.path(index)).read_bytes()
            assert found.label(index) == expected.label(index)
            assert found.decode(index).tobytes() == expected.decode(index).tobytes()


def test_training_shards_mix_classes(image_set, tmp_path):
    packed = packed_copy(image_set, tmp_path / "packed")
    index = read_index(packed / "train")
    stored = index.label[np.lexsort((index.offset, index.shard))]
    assert np.unique(stored[:20]).size > 1
    test = read_index(packed / "val")
    # Testing reads in the order of the folder, which is that of the shards.
    assert np.array_equal(np.lexsort((test.offset, test.shard)), np.arange(len(test)))


@pytest.fixture
def image_set(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        for label in ("a", "b", "c"):
            folder = tmp_path / "set" / split / label
            folder.mkdir(parents=True)
            for number in range(20):
                (folder / f"{number:02d}.jpg").write_bytes(f"{split}{label}{number}".encode())
    return tmp_path / "set"


def test_shards_are_tar_files_of_webdataset(odd, small_shards, tmp_path):
    """Read by the standard library: image and label under one key, the key without a dot."""
    packed = packed_copy(odd, tmp_path / "packed")
    expected, names = Folder(odd / "train").samples(), []
    wanted = {expected.read(i): expected.label(i) for i in range(len(expected))}
    for shard in sorted((packed / "train").glob("*.tar")):
        with tarfile.open(shard) as archive:
            members = archive.getmembers()
            for image, label in zip(members[::2], members[1::2], strict=True):
                key, _, suffix = image.name.rpartition("/")[2].partition(".")
                assert label.name == f"{image.name[: -len(suffix)]}cls"
                assert "." not in suffix and key
                names.append(label.name)
                content = archive.extractfile(image).read()  # pyright: ignore[reportOptionalMemberAccess]
                number = archive.extractfile(label).read()  # pyright: ignore[reportOptionalMemberAccess]
                assert wanted[content] == int(number)
    assert len(set(names)) == len(expected)


@pytest.mark.filterwarnings("ignore")  # webdataset leaves the shards open
def test_webdataset_reads_the_shards(odd, small_shards, tmp_path):
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    packed = packed_copy(odd, tmp_path / "packed")
    shards = sorted(map(str, (packed / "train").glob("*.tar")))
    found = []
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        (image,) = (sample[name] for name in ("jpg", "jpeg") if name in sample)
        found.append((image, int(sample["cls"])))
    gc.collect()  # of the open shards, here where they are expected
    expected = Folder(odd / "train").samples()
    assert sorted(found) == sorted(
        (expected.read(i), expected.label(i)) for i in range(len(expected))
    )


def test_interrupted_packing_continues(image_set, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "MIB", 8192)
    target, write = tmp_path / "packed", packing._write_shard
    written = []

    def interrupted(folder, shard):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(shard[0])
        return write(folder, shard)

    monkeypatch.setattr(packing, "_write_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        packed_copy(image_set, target)
    assert not target.exists()
    hidden = tmp_path / ".packed.unfinished"
    shard = hidden / "train" / "shard-000000.tar"
    before = shard.stat().st_mtime_ns
    monkeypatch.setattr(packing, "_write_shard", write)
    packed_copy(image_set, target)
    assert not hidden.exists()
    assert (target / "train" / "shard-000000.tar").stat().st_mtime_ns == before
    whole = packed_copy(image_set, tmp_path / "whole")
    assert contents(target) == contents(whole)


def test_several_processes_write_the_same(image_set, tmp_path, monkeypatch):
    one = packed_copy(image_set, tmp_path / "one")
    pack(image_set, tmp_path / "two", quiet(), shard_mib=1, processes=2)
    assert contents(tmp_path / "two") == contents(one)


def test_refusals(image_set, tmp_path, monkeypatch):
    packed = packed_copy(image_set, tmp_path / "packed")
    for source, target, text in (
        (packed, tmp_path / "again", "is packed already"),
        (image_set, packed, r"packed is there already; name a new folder"),
        (image_set, image_set / "packed", "lie in each other; name a target outside"),
        (tmp_path / "none", tmp_path / "new", "does not exist"),
    ):
        with pytest.raises(UserError, match=text):
            packed_copy(source, target)
    with pytest.raises(UserError, match=r"has no packed\.json, .*`python -m benchmarks data pack`"):
        unpack(image_set, tmp_path / "new", quiet())
    (image_set / "val" / "d").mkdir()
    with pytest.raises(UserError, match=r"val has other class folders .*'d'"):
        packed_copy(image_set, tmp_path / "new")
    (image_set / "val" / "d").rmdir()
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(UserError, match=r"Packing takes .* 0 bytes is free.*another disk as DST"):
        packed_copy(image_set, tmp_path / "new")
    monkeypatch.undo()
    packed_copy(image_set, tmp_path / "new")


def test_other_settings_do_not_continue(image_set, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "shard")

    with monkeypatch.context() as patch:
        patch.setattr(packing, "_write_shard", full)
        with pytest.raises(UserError, match=r"stopped at shard: No space.*Free some space and run"):
            packed_copy(image_set, tmp_path / "packed")
    with pytest.raises(UserError, match=r"unfinished packed, .*other settings.*Give the same"):
        packed_copy(image_set, tmp_path / "packed", shard_mib=2)
    packed_copy(image_set, tmp_path / "packed")


def test_other_files_are_reported(odd, tmp_path):
    console = quiet()
    pack(odd, tmp_path / "packed", console)
    assert "3 other files in rest.tar" in printed(console)
