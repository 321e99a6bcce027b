"""Decode JPEG files and crop them for training, without Pillow where the pixels are the same.

simplejpeg decodes by libjpeg-turbo, as Pillow does, and its pixels are equal; torchvision's decoders are deprecated
since 0.29. torch's antialiased resize of uint8 images, which is vectorised, replaces Pillow's; the two differ by at
most 2 grey levels.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

_ORIENTATION = 0x0112
# Markers without a length: restarts, the start of the image, and TEM.
_BARE = frozenset((0x01, *range(0xD0, 0xD9)))
# Of the blocks that say how to turn an image; Pillow reads both.
_ORIENTING = (b"Exif\0", b"http://ns.adobe.com/xap/1.0/\0")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Baseline, extended and progressive, in Huffman codes.
_COMMON = frozenset((0xC0, 0xC1, 0xC2))
# JFIF's numbers of the channels.
_YCBCR = b"\x01\x02\x03"
_END = b"\xff\xd9"


def decode_plain_jpeg(data: bytes) -> Tensor | None:
    """Decode a JPEG file that needs no repair.

    Args:
        data: The file.

    Returns:
        `(3, H, W)` uint8, RGB, stored row by row with the channels of a pixel side by side. None if the file is another
        format, is damaged, is not grey or YCbCr, or has to be turned upright; `datasets.images.read_rgb` reads it.
    """
    if not is_plain_jpeg(data):
        return None
    try:
        pixels = simplejpeg.decode_jpeg(data, colorspace="RGB")
    except ValueError:
        return None
    return torch.from_numpy(pixels).permute(2, 0, 1)


def is_plain_jpeg(data: bytes) -> bool:
    """Return whether a file is a JPEG of 8 bits with one or three channels that is stored upright."""
    return read_frame(data) is not None


@dataclass(frozen=True)
class Frame:
    """What the header of a plain JPEG file says.

    Attributes:
        height: Rows of pixels.
        width: Columns of pixels.
        is_common: Whether the file is what every decoder reads alike: sequential or progressive, in Huffman codes,
            YCbCr, and with an end.
    """

    height: int
    width: int
    is_common: bool


def read_frame(data: bytes) -> Frame | None:
    """Read the header of a JPEG file; None if it is not of the kind that `is_plain_jpeg` names."""
    if not data.startswith(b"\xff\xd8"):
        return None
    at, end, is_rgb = 2, len(data), False
    while at + 4 <= end:
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _BARE:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body = at + 4
        if marker in _FRAMES:
            if body + 6 > end or data[body] != 8 or data[body + 5] not in (1, 3):
                return None
            names = data[body + 6 : body + 6 + 3 * data[body + 5] : 3]
            common = marker in _COMMON and names == _YCBCR and not is_rgb
            # Within coded pixels, 0xFF is followed by 0; so this is the end of the image.
            common = common and data.find(_END, body) >= 0
            height = int.from_bytes(data[body + 1 : body + 3], "big")
            width = int.from_bytes(data[body + 3 : body + 5], "big")
            return Frame(height, width, common)
        if marker == 0xE1 and data.startswith(_ORIENTING, body) and not _is_upright(data):
            return None
        if marker == 0xEE and data.startswith(b"Adobe", body):
            is_rgb = data[body + 11 : body + 12] == b"\0"
        at += 2 + length
    return None


def _is_upright(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.getexif().get(_ORIENTATION, 1) == 1
    except Exception:  # Pillow raises nearly anything for damaged files.
        return False


class RandomCrop:
    """torchvision's `RandomResizedCrop` and `RandomHorizontalFlip` on decoded bytes, with torchvision's draws.

    Args:
        crop: The first transform of a pipeline.
        flip: The second; None if there is no flip.
    """

    def __init__(self, crop: v2.RandomResizedCrop, flip: v2.RandomHorizontalFlip | None) -> None:
        self.crop = crop
        self.size: list[int] = list(crop.size)  # pyright: ignore[reportArgumentType]
        self.flip_probability = None if flip is None else flip.p

    @staticmethod
    def fits(crop: object) -> bool:
        """Return whether a transform is a crop that this class computes."""
        return (
            type(crop) is v2.RandomResizedCrop
            and crop.interpolation in ("bilinear", v2.InterpolationMode.BILINEAR)
            and crop.antialias is not False
        )

    def __call__(self, image: Tensor) -> Tensor:
        """Crop, resize and flip.

        Args:
            image: `(3, H, W)` uint8.

        Returns:
            `(3, h, w)` uint8, with the channels of a pixel side by side in memory.
        """
        box, flip = self.draw(image)
        top, left, height, width = box
        part = image.permute(1, 2, 0)[top : top + height, left : left + width]
        # The kernel for bytes is faster on a crop without gaps. It keeps the channels side by side if the strides of
        # the batch say so, which those of a batch dimension that is added to a permuted image do not.
        part = part.contiguous()[None].permute(0, 3, 1, 2)
        resized = functional.interpolate(part, size=self.size, mode="bilinear", antialias=True)[0]
        return resized.flip(-1) if flip else resized

    def draw(self, image: Tensor) -> tuple[tuple[int, int, int, int], bool]:
        """Draw the box (top, left, height and width) and the flip of an image, of which only the shape matters."""
        found = self.crop.make_params([image])
        box = (found["top"], found["left"], found["height"], found["width"])
        return box, self.flip_probability is not None and bool(
            torch.rand(1) < self.flip_probability
        )


def to_pillow(image: Tensor) -> Image.Image:
    """Return `(3, H, W)` uint8 as a Pillow image."""
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def to_bytes(image: Image.Image) -> Tensor:
    """Return an RGB image as `(3, H, W)` uint8, with the channels of a pixel side by side in memory."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
