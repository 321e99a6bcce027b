"""Unpacking archives that are not trusted."""

from __future__ import annotations

import io
import os
import pickle
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.prepare_world import (
    CIFAR_NAMES,
    cifar_archives,
    cifar_batch,
    files_below,
    python_two_pickle,
    tar_of,
    tgz_of,
    zip_of,
)

from contract.errors import UserError
from datasets.prepare.cifar10 import Pictures
from datasets.prepare.extract import Staging, Unpack, read_files
from datasets.prepare.space import on_disk


def unpack(archive: Path, folder: Path) -> tuple[int, int]:
    """Unpack all of it; return the expected and the reported number of bytes."""
    step, staging, written = Unpack(archive, lambda name: name), Staging(folder, "set"), []
    staging.target.mkdir(parents=True, exist_ok=True)
    expected = step.measure()
    step.write(staging, written.append)
    return expected, sum(written)


def tar_member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        good = tarfile.TarInfo("set/good.txt")
        good.size = 4
        tar.addfile(good, io.BytesIO(b"good"))
        bad = tarfile.TarInfo(name)
        bad.type, bad.linkname = kind, target
        tar.addfile(bad, io.BytesIO())
    return buffer.getvalue()


def zip_member(name: str, mode: int = stat.S_IFREG | 0o644, content: bytes = b"bad") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("set/good.txt", b"good")
        bad = zipfile.ZipInfo(name)
        bad.external_attr = mode << 16
        file.writestr(bad, content)
    return buffer.getvalue()


MALICIOUS = {
    "parent.tar": (tar_member("../evil.txt"), "'../evil.txt' has a path that leads out"),
    "deep.tar": (tar_member("set/../../evil.txt"), "'set/../../evil.txt' has a path that leads"),
    "absolute.tar": (tar_member("/tmp/evil.txt"), "'/tmp/evil.txt' has an absolute path"),
    "symlink.tar": (tar_member("set/l", tarfile.SYMTYPE, "/etc"), "'set/l' is a link to '/etc'"),
    "up.tar": (tar_member("set/l", tarfile.SYMTYPE, "../.."), "'set/l' is a link to '../..'"),
    "hardlink.tar": (
        tar_member("set/l", tarfile.LNKTYPE, "../../passwd"),
        "'set/l' is a link to '../../passwd'",
    ),
    "inward.tar": (tar_member("set/l", tarfile.SYMTYPE, "good.txt"), "is a link to 'good.txt'"),
    "device.tar": (tar_member("set/null", tarfile.CHRTYPE), "'set/null' is a device or a pipe"),
    "disk.tar": (tar_member("set/sda", tarfile.BLKTYPE), "'set/sda' is a device or a pipe"),
    "pipe.tar": (tar_member("set/pipe", tarfile.FIFOTYPE), "'set/pipe' is a device or a pipe"),
    "parent.zip": (zip_member("../evil.txt"), "'../evil.txt' has a path that leads out"),
    "absolute.zip": (zip_member("/tmp/evil.txt"), "'/tmp/evil.txt' has an absolute path"),
    "symlink.zip": (
        zip_member("set/l", stat.S_IFLNK | 0o777, b"/etc"),
        "'set/l' is a link to '/etc'",
    ),
    "device.zip": (zip_member("set/null", stat.S_IFCHR), "'set/null' is a device or a pipe"),
}


@pytest.mark.parametrize("name", MALICIOUS)
def test_malicious_members_are_refused_before_writing(name: str, tmp_path: Path):
    content, fault = MALICIOUS[name]
    archive = tmp_path / name
    archive.write_bytes(content)
    with pytest.raises(UserError) as caught:
        unpack(archive, tmp_path / "a" / "b")
    text = str(caught.value)
    assert text.startswith(f"{name} was refused, and nothing of it is left: its member ")
    assert fault in text
    assert list(files_below(tmp_path)) == [name]


def test_malicious_inner_tar_member_is_refused(tmp_path: Path):
    archive = tmp_path / "outer.tar"
    archive.write_bytes(tar_of({"n01.tar": tar_member("../evil.txt")}))
    step, staging = Unpack(archive, lambda name: name, nested=True), Staging(tmp_path / "s", "set")
    with pytest.raises(UserError, match=r"outer\.tar/n01\.tar was refused.*'\.\./evil\.txt'"):
        step.write(staging, lambda _: None)
    assert sorted(files_below(tmp_path)) == ["outer.tar", "s/set/n01/set/good.txt"]


@pytest.mark.parametrize("relative", ["", "/etc/passwd", "../x", "a/../../x"])
def test_arrangement_cannot_write_outside(relative: str, tmp_path: Path):
    with pytest.raises(ValueError, match="no path inside"):
        Staging(tmp_path, "set").put(relative, 0, io.BytesIO)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_valid_archives(name: str, tmp_path: Path):
    files = {"./a/b.txt": b"x" * 5000, "a/empty.txt": b"", "c.txt": b"c" * 4096}
    pack = {"a.tar": tar_of, "a.zip": zip_of, "a.tar.gz": tgz_of}[name]
    (tmp_path / name).write_bytes(pack(files))
    assert unpack(tmp_path / name, tmp_path / "s") == (8192 + 4096, 8192 + 4096)
    expected = {path.removeprefix("./"): content for path, content in files.items()}
    assert files_below(tmp_path / "s" / "set") == expected
    assert Staging(tmp_path / "s", "set").used_bytes() == 12288
    assert read_files(tmp_path / name, ["c.txt"]) == {"c.txt": b"c" * 4096}


def test_file_modes_are_normalised(tmp_path: Path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, mode in (("setuid", 0o4777), ("none", 0)):
            member = tarfile.TarInfo(name)
            member.mode = mode
            tar.addfile(member, io.BytesIO())
    (tmp_path / "a.tar").write_bytes(buffer.getvalue())
    unpack(tmp_path / "a.tar", tmp_path / "s")
    mask = os.umask(0)
    os.umask(mask)
    for name in ("setuid", "none"):
        assert stat.S_IMODE((tmp_path / "s/set" / name).stat().st_mode) == 0o666 & ~mask


def test_complete_files_are_kept(tmp_path: Path):
    (tmp_path / "a.tar").write_bytes(tar_of({"one": b"1111", "two": b"2222"}))
    target = tmp_path / "s" / "set"
    target.mkdir(parents=True)
    (target / "one").write_bytes(b"kept")
    (target / "two").write_bytes(b"22")
    (tmp_path / "s" / "partial").write_bytes(b"left by a kill")
    unpack(tmp_path / "a.tar", tmp_path / "s")
    assert files_below(tmp_path / "s") == {"set/one": b"kept", "set/two": b"2222"}


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
@pytest.mark.parametrize("damage", ["cut", "no archive", "empty"])
def test_damaged_archives(name: str, damage: str, tmp_path: Path):
    files = {"a.bin": np.random.default_rng(0).bytes(20_000)}
    pack = {"a.tar": tar_of, "a.zip": zip_of, "a.tar.gz": tgz_of}[name]
    content = {"cut": pack(files)[:9000], "no archive": b"<html>" * 900, "empty": b""}[damage]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} can't be read as an archive \(.*Remove it"):
        unpack(tmp_path / name, tmp_path / "s")


def test_sizes_on_disk():
    assert [on_disk(size) for size in (0, 1, 4096, 4097)] == [0, 4096, 4096, 8192]


# CIFAR-10


def write_pictures(folder: Path, content: bytes) -> dict[str, bytes]:
    archive = folder / "cifar-10-python.tar.gz"
    archive.write_bytes(content)
    step, staging, written = Pictures(archive), Staging(folder / "s", "cifar10"), []
    expected = step.measure()
    step.write(staging, written.append)
    assert sum(written) == expected == 18 * 4096
    return files_below(staging.target)


def test_cifar_pixels_and_labels(tmp_path: Path):
    files = write_pictures(tmp_path, cifar_archives()["all"])
    assert len(files) == 18
    number = {"train": 0, "val": 0}
    for batch in range(6):
        split = "train" if batch else "val"
        for row, label in zip(*cifar_batch(batch), strict=True):
            path = f"{split}/{CIFAR_NAMES[label]}/{number[split]:05d}.png"
            with Image.open(io.BytesIO(files[path])) as picture:
                pixels = np.asarray(picture)
            assert np.array_equal(pixels.transpose(2, 0, 1).ravel(), row)
            number[split] += 1
    # A second run writes nothing.
    before = (tmp_path / "s/cifar10/val/bird/00000.png").stat().st_mtime_ns
    assert write_pictures(tmp_path, cifar_archives()["all"]) == files
    assert (tmp_path / "s/cifar10/val/bird/00000.png").stat().st_mtime_ns == before


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


@pytest.mark.parametrize(
    ("batch", "fault"),
    [
        (pickle.dumps({"data": Evil()}), "it asks for posix.system"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "it asks for builtins.eval"),
        (b"cnumpy\nload\n(S'x'\ntR.", "it asks for numpy.load"),
        (b"cnumpy\nndarray.tofile\n.", "it asks for numpy.ndarray.tofile"),
        (b"garbage", "is no pickle of plain arrays"),
        (b"", "is no pickle of plain arrays"),
        (python_two_pickle([1]), "holds no dictionary"),
        (python_two_pickle({b"labels": [0]}), "rows of 3072 bytes"),
        (python_two_pickle({b"data": np.zeros((1, 9), np.uint8), b"labels": [0]}), "rows of 3072"),
        (python_two_pickle({b"data": np.zeros((1, 3072), np.uint8), b"labels": [3]}), "below 3"),
        (python_two_pickle({b"data": np.zeros((1, 3072), np.uint8), b"labels": []}), "a label"),
    ],
)
def test_foreign_pickles_are_refused(batch: bytes, fault: str, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        write_pictures(tmp_path, cifar_archives(data_batch_1=batch)["all"])
    assert "data_batch_1" in str(caught.value)
    assert fault in str(caught.value)
    assert not (tmp_path / "evil").exists()


def test_cifar_class_names_must_be_words(tmp_path: Path):
    meta = python_two_pickle({b"label_names": [b"../x", b"b", b"c"]})
    with pytest.raises(UserError, match=r"names its classes \['\.\./x', 'b', 'c'\]"):
        write_pictures(tmp_path, cifar_archives(**{"batches.meta": meta})["all"])


def test_cifar_missing_batch(tmp_path: Path):
    content = tgz_of({"cifar-10-batches-py/batches.meta": b""})
    with pytest.raises(UserError, match=r"does not contain cifar-10-batches-py/data_batch_1"):
        write_pictures(tmp_path, content)
