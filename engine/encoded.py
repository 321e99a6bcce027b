"""JPEG files that leave the loader's workers encoded and are decoded, cropped and resized on a GPU.

Workers draw the same box and flip as for an image that they decode. They decode themselves what nvJPEG may read
differently or not at all: files that `engine.decoding.read_frame` does not call common.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torchvision.io
from torch import Tensor
from torch.nn import functional

from datasets.images import read_rgb
from engine.decoding import RandomCrop, decode_plain_jpeg, read_frame, to_bytes
from engine.measure.memory import is_out_of_memory

# Most bytes of decoded images at a time: photographs may be large.
_MOST_BYTES = 2**28
_told: set[str] = set()


@dataclass(frozen=True)
class Encoded:
    """A training image on its way to the device.

    Attributes:
        data: The file `(B,)`; or, with no box, the finished image `(3, h, w)`. Both uint8.
        size: Height and width of the finished image.
        name: The image in messages.
        source: Height and width of the image in the file.
        box: Top, left, height and width of the crop; None if `data` is finished.
        flip: Whether the crop is flipped.
    """

    data: Tensor
    size: tuple[int, int]
    name: str
    source: tuple[int, int] = (0, 0)
    box: tuple[int, int, int, int] | None = None
    flip: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the finished image."""
        return (3, *self.size)


class EncodedBatch:
    """Images of a batch; a slice of it is one too.

    All bytes are one tensor: each tensor that a worker sends takes an open file.

    Args:
        images: The images.
    """

    def __init__(self, images: Sequence[Encoded]) -> None:
        lengths = [image.data.numel() for image in images]
        self.ends = list(np.cumsum([0, *lengths]).tolist())
        self.bytes = torch.cat([image.data.reshape(-1) for image in images])
        nothing = torch.empty(0, dtype=torch.uint8)
        self.entries = [replace(image, data=nothing) for image in images]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, part: slice) -> EncodedBatch:
        start, stop, step = part.indices(len(self))
        assert step == 1
        stop = max(start, stop)
        # A view of the bytes: a copy of pinned memory would not be pinned.
        first, last = self.ends[start], self.ends[stop]
        found = EncodedBatch.__new__(EncodedBatch)
        found.ends = [end - first for end in self.ends[start : stop + 1]]
        found.bytes, found.entries = self.bytes[first:last], self.entries[start:stop]
        return found

    def __iter__(self) -> Iterator[Encoded]:
        for entry, (start, end) in zip(self.entries, pairwise(self.ends), strict=True):
            data = self.bytes[start:end]
            yield replace(entry, data=data if entry.box else data.view(entry.shape))

    def __getstate__(self) -> dict[str, Any]:
        fields = [(e.size, e.name, e.source, e.box, e.flip) for e in self.entries]
        return {"ends": self.ends, "bytes": self.bytes, "entries": fields}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.ends, self.bytes = state["ends"], state["bytes"]
        nothing = torch.empty(0, dtype=torch.uint8)
        self.entries = [Encoded(nothing, *fields) for fields in state["entries"]]

    def pin_memory(self, *device: Any) -> EncodedBatch:
        """Move the bytes to pinned memory; torch's loader calls this."""
        self.bytes = self.bytes.pin_memory(*device)
        return self


def encode(file: bytes, name: str, crop: RandomCrop) -> Encoded | None:
    """Return a file for the device with its crop; None if a worker has to decode it.

    Args:
        file: An image file.
        name: The image in messages.
        crop: Draws box and flip from torch's global generator, as for a decoded image.
    """
    frame = read_frame(file)
    if frame is None or not frame.is_common:
        return None
    box, flip = crop.draw(torch.empty((3, frame.height, frame.width), device="meta"))
    data = torch.frombuffer(bytearray(file), dtype=torch.uint8)
    source = (frame.height, frame.width)
    return Encoded(data, (crop.size[0], crop.size[1]), name, source, box, flip)


def decode_batch(
    batch: EncodedBatch, device: torch.device, *, non_blocking: bool = False
) -> Tensor:
    """Decode, crop, resize and flip on a device.

    Args:
        batch: Images of one finished size.
        device: The device.
        non_blocking: Whether the host goes on while pinned memory is copied.

    Returns:
        `(N, 3, h, w)` uint8 in channels_last. The resize is antialiased and bilinear, in float32; that of a worker
        rounds between its two passes, so the two differ by at most 1 grey level for equal decoded pixels.

    Raises:
        UserError: A file is damaged.
    """
    images = list(batch)
    shape = (len(images), *images[0].shape)
    found = torch.empty(shape, dtype=torch.uint8, device=device, memory_format=torch.channels_last)
    for group in _groups(images):
        decoded = iter(_decode([images[n] for n in group if images[n].box], device))
        for n in group:
            if images[n].box is None:
                found[n] = images[n].data.to(device, non_blocking=non_blocking)
            else:
                found[n] = _crop(next(decoded), images[n])
    return found


def _groups(images: Sequence[Encoded]) -> Iterator[list[int]]:
    """Yield positions of images that are decoded together."""
    group: list[int] = []
    total = 0
    for n, image in enumerate(images):
        size = 3 * math.prod(image.source)
        if group and total + size > _MOST_BYTES:
            yield group
            group, total = [], 0
        group.append(n)
        total += size
    yield group


def _crop(image: Tensor, wanted: Encoded) -> Tensor:
    assert wanted.box is not None
    top, left, height, width = wanted.box
    # CUDA resizes floats only.
    part = image[None, :, top : top + height, left : left + width].float()
    resized = functional.interpolate(part, size=wanted.size, mode="bilinear", antialias=True)[0]
    if wanted.flip:
        resized = resized.flip(-1)
    return resized.round_().to(torch.uint8)


def _decode(images: Sequence[Encoded], device: torch.device) -> list[Tensor]:
    """Decode files, on the CPU where nvJPEG fails."""
    if not images:
        return []
    try:
        return decode_files([image.data for image in images], device)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        if len(images) > 1:
            return [one for image in images for one in _decode([image], device)]
        return [_decode_on_cpu(images[0], error).to(device)]


def _decode_on_cpu(image: Encoded, error: Exception) -> Tensor:
    data = image.data.numpy().tobytes()
    pixels = decode_plain_jpeg(data)
    if pixels is None:
        # Pillow repairs the image, or says what is wrong with it.
        pixels = to_bytes(read_rgb(image.name, io.BytesIO(data)))
    if "fallback" not in _told:
        _told.add("fallback")
        reason = (str(error).strip().splitlines() or [""])[0]
        print(
            f"note: the GPU cannot decode {image.name} ({reason}); the CPU decodes such files",
            flush=True,
        )
    return pixels


def decode_files(files: list[Tensor], device: torch.device) -> list[Tensor]:
    """Decode JPEG files on a device by torchvision, without the warning that its decoders are deprecated.

    Args:
        files: Each `(B,)` uint8 on the CPU.
        device: A CUDA device.

    Returns:
        Each `(3, H, W)` uint8.

    Raises:
        RuntimeError: nvJPEG is missing or cannot decode one of them.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The image decoding", DeprecationWarning)
        decode: Any = torchvision.io.decode_jpeg
        return decode(files, mode=torchvision.io.ImageReadMode.RGB, device=device)
