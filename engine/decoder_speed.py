"""How fast a GPU and this machine's cores decode training images, to choose between them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

from engine.decoding import RandomCrop, decode_plain_jpeg, read_frame
from engine.encoded import EncodedBatch, decode_batch, decode_files, encode

# Batches of files that the GPU decodes, and files that a core decodes.
_BATCH, _BATCHES, _ON_CPU = 64, 4, 48
_SIZE = 224


@dataclass(frozen=True)
class Speeds:
    """Training images decoded in a second.

    Attributes:
        cuda: By the GPU alone.
        turbo: By the cores together.
        cores: Number of these cores.
    """

    cuda: float
    turbo: float
    cores: int

    @property
    def choice(self) -> str:
        """The faster decoder."""
        return "cuda" if self.cuda > self.turbo else "turbo"

    def __str__(self) -> str:
        ours, other = self.cuda, self.turbo
        if self.choice == "cuda":
            return f"cuda, {ours:.0f} images/s against {other:.0f} of {self.cores} cores"
        return f"turbo, {other:.0f} images/s of {self.cores} cores against {ours:.0f} of the GPU"


def measure_decoders(files: Sequence[bytes], cores: int, size: int = _SIZE) -> Speeds | str:
    """Decode and crop files on the current GPU, and on one core.

    Torch's generator is left as it was.

    Args:
        files: Some files of the training set.
        cores: Cores that decode in a run.
        size: Side of a training image in pixels.

    Returns:
        The speeds, or why the GPU cannot decode the files, as one clause.
    """
    common = [file for file in files if (frame := read_frame(file)) and frame.is_common]
    if not common:
        return "none of the first images is a JPEG file that nvJPEG reads"
    crop = RandomCrop(v2.RandomResizedCrop(size), v2.RandomHorizontalFlip())
    with torch.random.fork_rng(devices=[]):
        try:
            device = torch.device("cuda", torch.cuda.current_device())
            # Files that the CPU would have to decode must not count as the GPU's.
            decode_files([_bytes(file) for file in common], device)
            cuda = _speed_of_gpu(common, crop, device)
        # AttributeError: torchvision without a decoder.
        except (RuntimeError, AttributeError) as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            return f"nvJPEG failed ({reason})"
        turbo = cores * _speed_of_core(common, crop)
    return Speeds(cuda, turbo, cores)


def _bytes(file: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(file), dtype=torch.uint8)


def _speed_of_gpu(files: Sequence[bytes], crop: RandomCrop, device: torch.device) -> float:
    images = [encode(files[n % len(files)], "", crop) for n in range(_BATCH)]
    batch = EncodedBatch([image for image in images if image is not None])

    def decode() -> None:
        for _ in range(_BATCHES):
            decode_batch(batch, device)
        torch.cuda.synchronize()

    # The first time, nvJPEG starts and memory is reserved.
    decode_batch(batch, device)
    torch.cuda.synchronize()
    return _BATCHES * len(batch) / _seconds(decode, time.perf_counter)


def _speed_of_core(files: Sequence[bytes], crop: RandomCrop) -> float:
    def decode() -> None:
        for n in range(_ON_CPU):
            image = decode_plain_jpeg(files[n % len(files)])
            if image is not None:
                crop(image)

    # CPU time, because processes of the run may share the cores now.
    return _ON_CPU / _seconds(decode, time.process_time)


def _seconds(work: Callable[[], None], clock: Callable[[], float]) -> float:
    started = clock()
    work()
    return max(clock() - started, 1e-9)


def generated_files(count: int = 16) -> list[bytes]:
    """Return JPEG files of the size and detail of a photograph in ImageNet."""
    generator = np.random.default_rng(0)
    files = []
    for _ in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), np.int16)
        noisy = smooth + generator.integers(-8, 9, smooth.shape, dtype=np.int16)
        stream = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
        files.append(stream.getvalue())
    return files
