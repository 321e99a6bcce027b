"""JPEG files decoded without Pillow, against Pillow."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from contract.errors import UserError
from datasets.images import read_rgb
from engine.decoding import RandomCrop, decode_plain_jpeg, is_plain_jpeg
from engine.image_folder import ImageFolderDataset
from engine.runner.seeding import seed_everything

PIPELINE = (
    dict(type="RandomResizedCrop", size=48, scale=(0.2, 1.0)),
    dict(type="RandomHorizontalFlip"),
)


def _picture(height=75, width=101):
    """A smooth picture with noise, as photographs are; sides that are no multiples of a block."""
    generator = np.random.default_rng(1)
    small = Image.fromarray(generator.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), int)
    noisy = smooth + generator.integers(-12, 13, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _jpeg(image, **options):
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def _turned(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    return _jpeg(_picture(), exif=exif)


FILES = {
    "usual": _jpeg(_picture(), quality=90),
    "444": _jpeg(_picture(), subsampling=0),
    "422": _jpeg(_picture(), subsampling=1),
    "progressive": _jpeg(_picture(), progressive=True, optimize=True),
    "grey": _jpeg(_picture().convert("L")),
    "rgb": _jpeg(_picture(), keep_rgb=True),
    "upright": _turned(1),
}


@pytest.mark.parametrize("kind", FILES)
def test_pixels_are_pillows(kind, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(FILES[kind])
    found = decode_plain_jpeg(FILES[kind])
    assert found.dtype == torch.uint8
    assert np.array_equal(found.permute(1, 2, 0).numpy(), np.asarray(read_rgb(path)))


def _png():
    stream = io.BytesIO()
    _picture().save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        *(_turned(turn) for turn in (3, 6, 8)),
        _jpeg(_picture().convert("CMYK")),
        _png(),
        FILES["usual"][:1500],
        FILES["usual"][:300],
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xe0\xff\xff",
        b"no image",
    ],
)
def test_others_are_left_to_pillow(data):
    assert decode_plain_jpeg(data) is None


def test_is_plain_jpeg_reads_the_header_only():
    assert is_plain_jpeg(FILES["usual"][:1500])


def _write(root, name, data):
    (root / "train" / "a").mkdir(parents=True, exist_ok=True)
    (root / "train" / "a" / name).write_bytes(data)


def test_crop_is_torchvisions(tmp_path):
    """The same box and flip as torchvision's transforms draw, and Pillow's pixels up to 2 grey levels."""
    crop = v2.Compose([v2.RandomResizedCrop(48, (0.2, 1.0)), v2.RandomHorizontalFlip()])
    for name, data in FILES.items():
        _write(tmp_path, f"{name}.jpg", data)
    _write(tmp_path, "png.png", _png())
    _write(tmp_path, "turned.jpg", _turned(6))
    _write(tmp_path, "cmyk.jpg", _jpeg(_picture().convert("CMYK")))
    ours = ImageFolderDataset(str(tmp_path / "train"), PIPELINE)
    pillow = ImageFolderDataset(str(tmp_path / "train"), PIPELINE, decoder="pillow")
    assert ours.crop is not None and pillow.crop is None
    differences = []
    for index in range(len(ours)):
        image = read_rgb(ours.samples.path(index))
        for seed in range(4):
            seed_everything(seed)
            found = ours[index]["inputs"]
            seed_everything(seed)
            expected = v2.functional.pil_to_tensor(crop(image))
            assert found.dtype == torch.uint8
            differences.append((found.int() - expected.int()).abs())
            seed_everything(seed)
            assert torch.equal(pillow[index]["inputs"], expected)
    assert max(int(one.max()) for one in differences) <= 2
    assert torch.stack(differences).float().mean() < 0.1


def test_further_transforms_get_the_crop(tmp_path):
    _write(tmp_path, "a.jpg", FILES["usual"])
    plain = ImageFolderDataset(str(tmp_path / "train"), PIPELINE)
    inverted = ImageFolderDataset(
        str(tmp_path / "train"), [*PIPELINE, dict(type="RandomInvert", p=1.0)]
    )
    seed_everything(0)
    expected = 255 - plain[0]["inputs"]
    seed_everything(0)
    assert torch.equal(inverted[0]["inputs"], expected)


@pytest.mark.parametrize(
    ("crop", "fits"),
    [
        (v2.RandomResizedCrop(8), True),
        (v2.RandomResizedCrop(8, antialias=False), False),
        (v2.RandomResizedCrop(8, interpolation=v2.InterpolationMode.BICUBIC), False),
        (v2.CenterCrop(8), False),
    ],
)
def test_only_the_usual_crop_is_replaced(crop, fits):
    assert RandomCrop.fits(crop) is fits


def test_a_damaged_file_is_named(tmp_path):
    _write(tmp_path, "bad.jpg", FILES["usual"][:1500])
    data = ImageFolderDataset(str(tmp_path / "train"), PIPELINE)
    with pytest.raises(UserError, match=r"bad\.jpg cannot be decoded \(.*truncated"):
        data[0]
    (tmp_path / "train" / "a" / "bad.jpg").unlink()
    with pytest.raises(UserError, match=r"bad\.jpg does not exist; complete the dataset"):
        data[0]


def test_unknown_decoder(tmp_path):
    with pytest.raises(UserError, match="unknown decoder 'turbos'; did you mean 'turbo'"):
        ImageFolderDataset(str(tmp_path), PIPELINE, decoder="turbos")
