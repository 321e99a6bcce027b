"""Reading packed images: checks, fingerprints, processes."""

import os
import pickle
import shutil
from pathlib import Path

import pytest
from support.conversion import packed_copy, unpacked_copy
from support.small_world import truncate

from benchmarks.cli import main
from contract.errors import UserError
from datasets.convert import pack as packing
from datasets.fingerprint import fingerprint
from datasets.layouts import imagefolder
from datasets.layouts.imagefolder import Folder, open_split
from datasets.packed import part
from datasets.verify import verify


@pytest.fixture
def packed(cls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packing, "MIB", 8192)
    return packed_copy(cls, tmp_path / "packed")


def test_check_reports_what_that_of_the_folder_does(cls, packed, capsys):
    assert imagefolder.find(packed)
    assert imagefolder.classes(packed) == imagefolder.classes(cls)
    assert verify("imagefolder", packed).counts == verify("imagefolder", cls).counts
    assert main(["data", "verify", "imagefolder", str(packed)]) == 0
    assert "is a sound imagefolder dataset" in capsys.readouterr().out


def test_check_finds_damage_and_leaks(cls, tmp_path):
    image, *_, twin = sorted((cls / "train").glob("*/*.jpg"))
    truncate(image)
    tested = next((cls / "val").glob("*/*.jpg"))
    shutil.copy(twin, tested)
    packed = packed_copy(cls, tmp_path / "packed")
    expected, found = (verify("imagefolder", root) for root in (cls, packed))
    assert [p.path.relative_to(packed) for p in found.errors] == [
        p.path.relative_to(cls) for p in expected.errors
    ]
    assert [p.message for p in found.problems] == [p.message for p in expected.problems]
    assert found.counts["test_images_trained_on"] == 1
    samples = open_split(packed / "train").samples()
    with pytest.raises(UserError, match=r"000.*\.jpg in shard-000000\.tar cannot be decoded"):
        samples.decode(0)


def test_headers_alone_need_few_bytes(packed, monkeypatch):
    read = []
    pread = os.pread

    def counting(descriptor, size, offset):
        content = pread(descriptor, size, offset)
        read.append(len(content))
        return content

    monkeypatch.setattr(os, "pread", counting)
    verify("imagefolder", packed, decode=False)
    headers = sum(read)
    read.clear()
    verify("imagefolder", packed)
    assert 0 < headers <= sum(read)


def test_fingerprint_follows_labels_of_a_large_set(cls, packed, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.fingerprint.CONTENT_LIMIT_BYTES", 10)
    found = {fingerprint("imagefolder", root) for root in (cls, packed)}
    again = packed_copy(cls, tmp_path / "again")
    assert fingerprint("imagefolder", again) in found
    first, second = sorted((cls / "train").iterdir())[:2]
    image, other = next(first.glob("*.jpg")), second / "moved.jpg"
    image.rename(other)
    found.add(fingerprint("imagefolder", packed_copy(cls, tmp_path / "relabelled")))
    other.rename(image.with_name("renamed.jpg"))
    found.add(fingerprint("imagefolder", packed_copy(cls, tmp_path / "renamed")))
    assert len(found) == 4


def test_forked_process_reads_beside_its_parent(packed):
    samples = open_split(packed / "train").samples()
    expected = [samples.read(index) for index in range(len(samples))]
    child = os.fork()
    if child == 0:
        good = all(samples.read(i) == expected[i] for i in reversed(range(len(samples))))
        samples.shards.close()
        os._exit(0 if good else 1)
    assert [samples.read(index) for index in range(len(samples))] == expected
    assert os.waitpid(child, 0)[1] == 0
    copy = pickle.loads(pickle.dumps(samples))
    assert copy.read(3) == expected[3]


def test_few_files_are_open(packed, monkeypatch):
    monkeypatch.setattr(part, "MOST_OPEN", 2)
    samples = open_split(packed / "train").samples()
    assert len(samples.places.shard_bytes) > 3
    before = len(os.listdir("/proc/self/fd"))
    for index in range(len(samples)):
        samples.read(index)
        assert len(os.listdir("/proc/self/fd")) <= before + 2
    samples.shards.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_whole_shard_is_asked_for_once(packed, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *arguments: asked.append(arguments[1:]))
    samples = open_split(packed / "val").samples()
    for index in range(len(samples)):
        samples.read(index)
    sizes = samples.places.shard_bytes.tolist()
    assert sum(-(-size // (128 * 1024)) for size in sizes) == len(asked)
    assert {advice for _, _, advice in asked} == {os.POSIX_FADV_WILLNEED}


def test_damaged_copies_are_refused(packed, tmp_path):
    shard = packed / "train" / "shard-000001.tar"
    content = shard.read_bytes()
    for change, text in (
        (lambda: shard.write_bytes(content[:-10240]), r"shard-000001.tar has \d+ bytes; expected"),
        (shard.unlink, r"shard-000001.tar is missing; .*copy it again"),
    ):
        change()
        with pytest.raises(UserError, match=text):
            verify("imagefolder", packed)
    shard.write_bytes(content)
    samples = open_split(packed / "train").samples()
    shard.unlink()
    with pytest.raises(UserError, match=r"shard-000001.tar does not exist; copy it again"):
        [samples.read(index) for index in range(len(samples))]
    shard.write_bytes(content)
    (index,) = (packed / "train").glob("index-*.npz")
    kept = index.read_bytes()
    index.write_bytes(kept[:100])
    with pytest.raises(UserError, match=r"index-.*npz is missing or damaged; copy it again"):
        verify("imagefolder", packed)
    index.write_bytes(kept)
    (packed / "packed.json").write_text('{"format": 99}')
    with pytest.raises(
        UserError, match=r"has the format 99; expected format 1\. Pack the data again"
    ):
        verify("imagefolder", packed)


def test_name_outside_of_the_folder_is_not_unpacked(cls, tmp_path, monkeypatch):
    names = Folder.samples

    def escaping(folder):
        samples = names(folder)
        samples.names = type(samples.names).of(
            [f"../../{name}" if i == 0 else name for i, name in enumerate(samples.names)]
        )
        return samples

    monkeypatch.setattr(Folder, "samples", escaping)
    monkeypatch.setattr(
        packing.Samples, "path", lambda self, i: str(sorted(cls.glob("train/*/*"))[i])
    )
    packed = packed_copy(cls, tmp_path / "packed")
    with pytest.raises(UserError, match=r"'\.\./\.\./.*lies outside the dataset"):
        unpacked_copy(packed, tmp_path / "back")
