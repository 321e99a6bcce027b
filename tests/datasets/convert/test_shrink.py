"""Smaller copies of an image folder."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.conversion import contents, packed_copy, printed, quiet, smaller_copy, unpacked_copy

from benchmarks.cli import main
from contract.errors import UserError
from datasets.convert import shrink as shrinking
from datasets.convert.shrink import Settings, shrink
from datasets.fingerprint import fingerprint
from datasets.images import read_rgb
from datasets.made import describe
from datasets.verify import verify


def _save(path: Path, size: tuple[int, int], seed: int = 0, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path, **options)  # pyright: ignore[reportArgumentType]
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    _save(root / "train" / "a" / "large.jpg", (300, 200), 1)
    _save(root / "train" / "a" / "tall.JPEG", (90, 400), 2)
    _save(root / "train" / "b" / "small.jpg", (50, 40), 3, quality=30)
    _save(root / "train" / "b" / "deep" / "equal.png", (64, 64), 4)
    _save(root / "val" / "a" / "picture.png", (200, 128), 5)
    _save(root / "val" / "a" / "picture.jpg", (128, 128), 6)
    exif = Image.Exif()
    exif[0x0112] = 6
    _save(root / "val" / "b" / "turned.jpg", (256, 128), 7, exif=exif)
    grey = root / "val" / "b" / "grey.jpg"
    Image.linear_gradient("L").save(grey)
    (root / "classes.tsv").write_text("a\tb\n")
    return root


def test_short_side_format_and_names(source, tmp_path):
    copy = smaller_copy(source, tmp_path / "small", 64, 80)
    sizes = {}
    for path in sorted(copy.rglob("*.*")):
        if path.suffix not in (".tsv", ".json"):
            with Image.open(path) as image:
                sizes[path.relative_to(copy).as_posix()] = (image.format, image.mode, image.size)
    assert sizes == {
        "train/a/large.jpg": ("JPEG", "RGB", (96, 64)),
        "train/a/tall.JPEG": ("JPEG", "RGB", (64, 284)),
        "train/b/deep/equal.png": ("PNG", "RGB", (64, 64)),
        "train/b/small.jpg": ("JPEG", "RGB", (50, 40)),
        "val/a/picture.jpg": ("JPEG", "RGB", (64, 64)),
        "val/a/picture.png.jpg": ("JPEG", "RGB", (100, 64)),
        "val/b/grey.jpg": ("JPEG", "RGB", (64, 64)),
        # Upright: as wide as the tag says.
        "val/b/turned.jpg": ("JPEG", "RGB", (64, 128)),
    }
    before, after = contents(source), contents(copy)
    for name in ("train/b/small.jpg", "train/b/deep/equal.png", "classes.tsv"):
        assert after[name] == before[name]
    assert verify("imagefolder", copy).problems == ()


def test_pixels_are_antialiased_and_upright(tmp_path):
    """A fine checkerboard becomes even grey; without antialiasing it stays black or white."""
    root = tmp_path / "set"
    board = np.indices((256, 256)).sum(axis=0) % 2 * 255
    for split in ("train", "val"):
        (root / split / "a").mkdir(parents=True)
        Image.fromarray(board.astype(np.uint8)).save(root / split / "a" / "board.png")
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    half = Image.new("RGB", (256, 256), (255, 0, 0))
    half.paste((0, 0, 255), (0, 128, 256, 256))
    half.save(root / "train" / "a" / "half.jpg", exif=exif, quality=95)
    copy = smaller_copy(root, tmp_path / "small", 64)
    pixels = np.asarray(read_rgb(copy / "train" / "a" / "board.jpg"), int)
    assert abs(pixels - 127.5).max() < 8
    turned = np.asarray(read_rgb(copy / "train" / "a" / "half.jpg"), int)
    assert turned[10, 32, 2] > 200 > 60 > turned[10, 32, 0]
    with Image.open(copy / "train" / "a" / "half.jpg") as image:
        assert image.getexif().get(0x0112) is None


def test_quality_decides_size(source, tmp_path):
    sizes = [
        len(contents(smaller_copy(source, tmp_path / str(q), 64, q))["train/a/large.jpg"])
        for q in (30, 90)
    ]
    assert sizes[0] < sizes[1]


def test_unreadable_images_stop_the_copy_and_lose_nothing(source, tmp_path, capsys):
    (source / "train" / "a" / "broken.jpg").write_bytes(b"no image")
    target = tmp_path / "small"
    words = ["data", "shrink", str(source), str(target), "--short-side", "64", "--processes", "1"]
    assert main(words) == 2
    text = capsys.readouterr().out
    assert "broken.jpg cannot be decoded" in text
    assert "1 of 9 images of" in text and "run the same command again" in text
    assert not target.exists()
    kept = tmp_path / ".small.unfinished" / "train" / "a" / "large.jpg"
    before = kept.stat().st_mtime_ns
    (source / "train" / "a" / "broken.jpg").unlink()
    assert main(words) == 0
    assert "8 images, 6 of them smaller" in capsys.readouterr().out
    assert (target / "train" / "a" / "large.jpg").stat().st_mtime_ns == before


def test_interrupted_copy_continues(source, tmp_path, monkeypatch):
    monkeypatch.setattr(shrinking, "_CHUNK", 1)
    write, done = shrinking._write, []

    def interrupted(*arguments):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(write(*arguments))
        return done[-1]

    monkeypatch.setattr(shrinking, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        smaller_copy(source, tmp_path / "small", 64)
    assert not (tmp_path / "small").exists()
    more = []
    monkeypatch.setattr(shrinking, "_write", lambda *a: more.append(write(*a)) or more[-1])
    smaller_copy(source, tmp_path / "small", 64)
    assert len(done) + len(more) == 8
    monkeypatch.undo()
    assert contents(tmp_path / "small") == contents(smaller_copy(source, tmp_path / "whole", 64))


def test_processes_make_the_same(source, tmp_path, monkeypatch):
    one = smaller_copy(source, tmp_path / "one", 64)
    monkeypatch.setattr(shrinking, "_CHUNK", 4)
    assert shrink(source, tmp_path / "two", Settings(64, 90), quiet(), processes=2) == 0
    assert contents(tmp_path / "two") == contents(one)


def test_copy_says_how_it_was_made(source, tmp_path):
    copy = smaller_copy(source, tmp_path / "small", 64, 80)
    assert describe(source) is None
    assert describe(copy) == "short side 64, JPEG quality 80"
    assert fingerprint("imagefolder", copy) != fingerprint("imagefolder", source)
    # It travels with the data, and is part of what identifies them.
    packed = packed_copy(copy, tmp_path / "packed")
    assert describe(packed) == describe(copy)
    assert describe(unpacked_copy(packed, tmp_path / "back")) == describe(copy)
    before = fingerprint("imagefolder", copy)
    (copy / "made.json").unlink()
    assert fingerprint("imagefolder", copy) != before


def test_bytes_before_and_after(source, tmp_path):
    console = quiet()
    shrink(source, tmp_path / "small", Settings(64, 90), console)
    size = {}
    for root in (source, tmp_path / "small"):
        files = contents(root).items()
        size[root] = sum(len(data) for name, data in files if "/" in name)
    kilo = [f"{size[root] / 1000:.1f} kB" for root in size]
    assert f"{kilo[0]} before, {kilo[1]} after" in printed(console)


def test_refusals(source, tmp_path, monkeypatch, capsys):
    packed = packed_copy(source, tmp_path / "packed")
    with pytest.raises(UserError, match="is packed; unpack it first"):
        smaller_copy(packed, tmp_path / "small", 64)
    with pytest.raises(UserError, match="does not exist"):
        smaller_copy(tmp_path / "none", tmp_path / "small", 64)
    for option, value, text in (
        ("--short-side", "0", "expected 1 pixel or more"),
        ("--quality", "96", "expected 1 to 95"),
        ("--processes", "0", "expected 1 or more"),
    ):
        assert main(["data", "shrink", str(source), str(tmp_path / "x"), option, value]) == 2
        assert f"{option} {value} was given; {text}" in capsys.readouterr().err
    free = io.BytesIO(b"x").getbuffer().nbytes
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
    with pytest.raises(UserError, match=r"smaller copy \(estimated\) takes .* 1 byte.* as DST"):
        smaller_copy(source, tmp_path / "small", 64)
