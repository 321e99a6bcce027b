"""Reading images of every kind, and detecting damaged ones."""

import io
import struct
import warnings

import numpy as np
import pytest
from PIL import Image

from contract.errors import UserError
from datasets.images import inspect, read_rgb

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
ROTATE_90_CLOCKWISE = 6


def _encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _exif(orientation=ROTATE_90_CLOCKWISE):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _smooth():
    """A picture that JPEG hardly changes: its left half is dark."""
    pixels = np.full((16, 32, 3), 200, np.uint8)
    pixels[:, :16] = 20
    return Image.fromarray(pixels)


def test_rgb(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    image = read_rgb(tmp_path / "a.png")
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), PIXELS)


def test_grey_is_repeated(tmp_path):
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        np.asarray(read_rgb(str(tmp_path / "a.png"))), np.repeat(PIXELS[..., :1], 3, axis=2)
    )


def test_sixteen_bit_grey_keeps_upper_byte(tmp_path):
    levels = np.array([[0, 255, 256, 511], [4096, 30000, 65280, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    expected = [[0, 0, 1, 1], [16, 117, 255, 255]]
    np.testing.assert_array_equal(np.asarray(read_rgb(tmp_path / "a.png"))[..., 1], expected)


def test_palette(tmp_path):
    indexed = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "L").convert("P")
    indexed.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    indexed.save(tmp_path / "a.png")
    expected = [[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [40, 50, 60]]]
    assert np.asarray(read_rgb(tmp_path / "a.png")).tolist() == expected


def test_transparency_is_dropped(tmp_path):
    transparent = np.concatenate([PIXELS, np.zeros((6, 8, 1), np.uint8)], axis=2)
    Image.fromarray(transparent).save(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(read_rgb(tmp_path / "a.png")), PIXELS)


def test_png_named_jpg(tmp_path):
    (tmp_path / "a.jpg").write_bytes(_encoded(Image.fromarray(PIXELS), "PNG"))
    np.testing.assert_array_equal(np.asarray(read_rgb(tmp_path / "a.jpg")), PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_exif_rotation(tmp_path, kind):
    more = dict(save_all=True, append_images=[_smooth()]) if kind == "MPO" else {}
    data = _encoded(_smooth(), kind, quality=95, exif=_exif(), **more)
    (tmp_path / "a.jpg").write_bytes(data)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == kind
    upright = np.asarray(read_rgb(tmp_path / "a.jpg"))
    assert upright.shape == (32, 16, 3)
    # Turned clockwise, what was left is on top.
    assert upright[:12].max() < 60
    assert upright[-12:].min() > 160


def test_png_is_not_rotated(tmp_path):
    (tmp_path / "a.png").write_bytes(_encoded(_smooth(), "PNG", exif=_exif()))
    assert read_rgb(tmp_path / "a.png").size == (32, 16)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 0.9])
def test_truncated_file(tmp_path, kind, fraction):
    data = _encoded(Image.fromarray(PIXELS).resize((64, 48)), kind)
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(UserError, match=r"a\..* cannot be decoded .*; replace it, or take it out"):
        read_rgb(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_damage_is_a_user_error(tmp_path, kind):
    data = _encoded(Image.fromarray(PIXELS), kind)
    generator = np.random.default_rng(1)
    refused = 0
    for _ in range(150):
        damaged = bytearray(data)
        for place in generator.integers(len(data), size=3):
            damaged[place] = generator.integers(256)
        path = tmp_path / "a"
        path.write_bytes(damaged[: generator.integers(1, len(data) + 1)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert read_rgb(path).mode == "RGB"
            except UserError:
                refused += 1
    assert refused > 50


def test_oversized_image(tmp_path):
    data = bytearray(_encoded(Image.fromarray(PIXELS), "BMP"))
    struct.pack_into("<ii", data, 18, 60_000, 60_000)
    (tmp_path / "a.bmp").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.bmp cannot be decoded .*exceeds limit"):
        read_rgb(tmp_path / "a.bmp")


def test_non_image(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    with pytest.raises(UserError, match=r"a\.jpg cannot be decoded .*cannot identify image"):
        read_rgb(tmp_path / "a.jpg")


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"absent\.jpg does not exist; complete the dataset"):
        read_rgb(tmp_path / "absent.jpg")


@pytest.mark.parametrize(
    ("values", "range_in_words"),
    [
        (np.linspace(0, 1, 48, dtype=np.float32), "from 0 to 1"),
        (np.arange(48, dtype=np.int32) * 1000, "from 0 to 47000"),
    ],
)
def test_wide_32_bit_pixels_are_refused(tmp_path, values, range_in_words):
    path = tmp_path / "a.tif"
    Image.fromarray(values.reshape(6, 8)).save(path)
    with pytest.raises(UserError, match=rf"a\.tif cannot be decoded .*32 bits .*{range_in_words}"):
        read_rgb(path)
    assert range_in_words in inspect(path, decode=True).fault
    Image.fromarray((values.reshape(6, 8) % 200).astype(np.float32) + 2).save(path)
    assert read_rgb(path).mode == "RGB"


def test_decompression_bomb_is_a_file_error(tmp_path, monkeypatch):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    assert "decompression bomb" in inspect(tmp_path / "a.png", decode=False).fault
    with pytest.raises(UserError, match=r"a\.png cannot be decoded .*exceeds limit"):
        read_rgb(tmp_path / "a.png")
