"""Measure the loader of ImageNet's training images: `python -m benchmarks.scripts.loader`.

Five pipelines read the same JPEG files in one process without workers, in turns: the ImageNet recipe's; the same with
Pillow for each step and float32 batches; those of torchvision's reference and timm; and decoding, cropping and flipping
alone. CPU seconds are counted, up to the collated batch, so that other programs disturb little. The table goes to the
section "Loader" of docs/performance.md.
"""

from __future__ import annotations

import argparse
import io
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import MODELS
from PIL import Image
from timm.data.dataset import ImageDataset
from timm.data.loader import create_loader
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import cls_train.train  # noqa: F401  (registers the types in configs)
from backbones.normalisation import IMAGENET_COLOUR_AXES, IMAGENET_MEAN, IMAGENET_STD
from benchmarks.plan.machine import cpu_model
from cls_train.assemble import CONFIGS
from contract.files import write_text
from contract.settings import ROOT
from datasets.images import read_rgb
from engine import config as configs
from engine.image_folder import ImageFolderDataset, collate_images, split_pipeline, transforms_of
from engine.runner.seeding import SeededDataset, seed_everything

PAGE = ROOT / "docs" / "performance.md"
_WIDTH, _HEIGHT, _QUALITY = 500, 375, 80
_SIZE = 224
_BATCH = 32
_NAMES = {
    "ours": "ImageNet recipe",
    "device": "ImageNet recipe, with what the device does, computed on this core",
    "pillow": "the same recipe by Pillow, float32 batches",
    "torchvision": "torchvision's reference",
    "timm": "timm",
    "crop": "Pillow: decoding, crop and flip alone",
}


def picture(seed: int) -> Image.Image:
    """Return noise with the spectrum of photographs: power falls with the square of the frequency."""
    generator = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(_HEIGHT)[:, None], np.fft.rfftfreq(_WIDTH)[None]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1
    fields = []
    for _ in range(3):
        parts = generator.normal(size=(2, *frequency.shape))
        field = np.fft.irfft2((parts[0] + 1j * parts[1]) / frequency**1.1, s=(_HEIGHT, _WIDTH))
        fields.append(field / field.std())
    grey, first, second = fields
    # Colours vary less than brightness.
    colours = np.stack([grey + 0.25 * first, grey, grey + 0.25 * second], axis=-1)
    return Image.fromarray(np.clip(128 + 55 * colours, 0, 255).astype(np.uint8))


def write_files(root: Path, count: int) -> float:
    """Write JPEG files in one class folder and return their mean size in bytes."""
    folder = root / "a"
    folder.mkdir(parents=True)
    for index in range(count):
        picture(index).save(folder / f"{index:04d}.jpg", quality=_QUALITY)
    return statistics.mean(path.stat().st_size for path in folder.iterdir())


def _ours(root: Path) -> Any:
    recipe = configs.load(CONFIGS, "imagenet", (), {})
    data: Any = ImageFolderDataset(str(root), transforms_of(recipe, "train_pipeline"))
    return DataLoader(SeededDataset(data, seed=0), _BATCH, shuffle=True, collate_fn=collate_images)  # type: ignore[arg-type]


def _on_device(root: Path) -> Iterator[Any]:
    recipe = configs.load(CONFIGS, "imagenet", (), {})
    batch_transforms = split_pipeline(transforms_of(recipe, "train_pipeline"))[1]
    preprocessor = MODELS.build(
        dict(type="AugmentingPreprocessor", augment=batch_transforms, **recipe.normalisation)
    )
    for batch in _ours(root):
        yield preprocessor(batch, True)


class _PillowPipeline:
    """The recipe with one image at a time: Pillow's jitter in HSV, and colour noise on floats."""

    def __init__(self) -> None:
        self.pillow = v2.Compose(
            [
                v2.RandomResizedCrop(_SIZE),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(brightness=0.4, saturation=0.4, hue=0.2),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32),
            ]
        )
        eigenvalues = torch.tensor([55.46, 4.794, 1.148])
        self.axes = torch.tensor(IMAGENET_COLOUR_AXES) * eigenvalues

    def __call__(self, image: Image.Image) -> Tensor:
        coefficients = torch.from_numpy(np.random.normal(0, 0.1, 3).astype(np.float32))
        return self.pillow(image) + (self.axes @ coefficients)[:, None, None]


class _SeededFolder(ImageFolder):
    """Seeds every sample, as `engine.runner.seeding` does."""

    def __getitem__(self, index: int) -> Any:
        seed_everything(0, 0, index)
        return super().__getitem__(index)


def _pillow(root: Path) -> Any:
    data = _SeededFolder(str(root), _PillowPipeline(), loader=read_rgb)
    return DataLoader(data, _BATCH, shuffle=True)


def _torchvision(root: Path) -> Any:
    """references/classification/presets.py with its defaults: backend PIL, no policy."""
    mean, std = (tuple(value / 255 for value in values) for values in (IMAGENET_MEAN, IMAGENET_STD))
    steps = [v2.RandomResizedCrop(_SIZE, antialias=True), v2.RandomHorizontalFlip(0.5)]
    steps += [v2.PILToTensor(), v2.ToDtype(torch.float, scale=True), v2.Normalize(mean, std)]
    return DataLoader(ImageFolder(str(root), v2.Compose(steps)), _BATCH, shuffle=True)


def _timm(root: Path) -> Any:
    """Timm's training loader with its default colour jitter; it normalises batches on the device."""
    return create_loader(
        ImageDataset(str(root)),
        (3, _SIZE, _SIZE),
        _BATCH,
        is_training=True,
        num_workers=0,
        persistent_workers=False,
        device=torch.device("cpu"),
        pin_memory=False,
    )


def _crop(root: Path) -> Any:
    steps = v2.Compose([v2.RandomResizedCrop(_SIZE), v2.RandomHorizontalFlip(), v2.PILToTensor()])
    return DataLoader(ImageFolder(str(root), steps), _BATCH, shuffle=True)


_LOADERS: dict[str, Callable[[Path], Any]] = {
    "ours": _ours,
    "device": _on_device,
    "pillow": _pillow,
    "torchvision": _torchvision,
    "timm": _timm,
    "crop": _crop,
}


def measure(root: Path, rounds: int) -> dict[str, list[float]]:
    """Return the images per CPU second of each round of each pipeline; a first round is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in _LOADERS}
    for number in range(rounds + 1):
        for name, make in _LOADERS.items():
            started = time.process_time()
            images = sum(len(_images(batch)) for batch in make(root))
            seconds = time.process_time() - started
            if number:
                rates[name].append(images / seconds)
    return rates


def _images(batch: Any) -> Tensor:
    return batch["inputs"] if isinstance(batch, dict) else batch[0]


def bytes_per_image(root: Path) -> dict[str, int]:
    """Return the bytes of an image that are copied to the device."""
    found = {}
    for name in ("ours", "pillow", "torchvision"):
        images = _images(next(iter(_LOADERS[name](root))))
        found[name] = images.element_size() * images[0].numel()
    # Its collation returns bytes, too; the loader normalises after the copy.
    return {**found, "timm": found["ours"]}


def colour_difference(root: Path, images: int = 24) -> tuple[float, float, float]:
    """Compare the jitter of the recipe with torchvision's on Pillow images, for the same draws.

    Returns:
        Mean and greatest absolute difference in grey levels after clipping to 0..255, and the mean change that the
        jitter makes.
    """
    from cls_train.colours import ColorJitter
    from engine.augmentation import OneImage

    arguments = dict(brightness=0.4, saturation=0.4, hue=0.2)
    ours, theirs = OneImage(ColorJitter(**arguments)), v2.ColorJitter(**arguments)
    differences, changes = [], []
    for index, path in enumerate(sorted(root.rglob("*.jpg"))[:images]):
        image = read_rgb(path)
        before = v2.functional.pil_to_tensor(image).float()
        seed_everything(0, 0, index)
        found = ours(before).clamp(0, 255)
        seed_everything(0, 0, index)
        expected = v2.functional.pil_to_tensor(theirs(image)).float()
        differences.append((found - expected).abs())
        changes.append((expected - before).abs())
    joined = torch.stack(differences)
    return joined.mean().item(), joined.max().item(), torch.stack(changes).mean().item()


def table(rates: dict[str, list[float]], sizes: dict[str, int]) -> list[str]:
    """Return the rows of the table."""
    rows = [
        "| pipeline | images/s of a core | × torchvision's reference (min–max of rounds) | bytes "
        "of an image to the device |",
        "|---|--:|--:|--:|",
    ]
    for name, values in rates.items():
        ratios = [one / other for one, other in zip(values, rates["torchvision"], strict=True)]
        size = f"{sizes[name]:,}" if name in sizes else ""
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        rows.append(f"| {_NAMES[name]} | {statistics.median(values):,.0f} | {spread} | {size} |")
    return rows


def section(
    rates: dict[str, list[float]], sizes: dict[str, int], size: float, colours: Sequence[float]
) -> str:
    """Return the text of the section."""
    gain = statistics.median(
        one / other for one, other in zip(rates["ours"], rates["pillow"], strict=True)
    )
    mean, most, change = colours
    rounds = len(rates["ours"])
    text = io.StringIO()
    print(
        f"`python -m benchmarks.scripts.loader`, {rounds} rounds, one core of {cpu_model()}, torch "
        f"{torch.__version__}.\n"
        f"JPEG files of {_WIDTH} × {_HEIGHT} pixels and {size / 1000:.0f} kB, which the script "
        f"makes, to {_SIZE} × {_SIZE} pixels.\n"
        "CPU seconds up to the collated batch, medians.\n",
        file=text,
    )
    print("\n".join(table(rates, sizes)), file=text)
    print(
        f"\nThe recipe's loader is {gain:.1f} × as fast as the same recipe by Pillow.\n\n"
        "- A worker decodes, crops, resizes and flips. Policies such as RandAugment and rotation "
        "follow, by Pillow. The image "
        "leaves\n  as bytes, with a few numbers drawn from (seed, epoch, index). The device "
        "applies them to the batch: "
        "brightness, contrast,\n  saturation, hue and colour noise as one 3 × 4 matrix together "
        "with the normalisation, "
        "then erasing and cutout.\n"
        "- JPEG files are decoded by simplejpeg (libjpeg-turbo), with Pillow's pixels exactly. "
        "torch's resize of bytes differs "
        "from\n  Pillow's by at most 2 grey levels. Other formats, CMYK, and images that have to "
        "be turned are read by Pillow. "
        "Scaled decoding\n  is not used: a crop of 224 pixels is rarely taken from twice as many.\n"
        "- The colour changes are MXNet's linear ones. torchvision turns the hue in HSV and clips "
        "after each change: the same "
        f"draws\n  differ by {mean:.1f} grey levels on average and {most:.0f} at most, of a change "
        f"of {change:.0f} on average. "
        "The difference is the hue: the rotation in\n  YIQ keeps the brightness, that in HSV the greatest channel.\n"
        f"{_ON_A_GPU}"
        "- With `workers = None`, a run on GPUs takes the cores of the machine divided by its "
        "processes, less one; a run on a "
        "CPU takes\n  one or two. Batches are pinned and copied without blocking. The workers go "
        "on with the next epoch, so its "
        "first batch is there.",
        file=text,
    )
    return text.getvalue()


_ON_A_GPU = """\
- On a GPU, `decoder = "auto"` of the ImageNet config measures at start how many files of the training set nvJPEG
  decodes and crops in a second, against the loader's processes, and takes the faster: `decoder: cuda, 5200 images/s
  against 2100 of 8 cores` (numbers of the form, not measured). Workers then return files with box and flip, drawn
  as before, and the GPU decodes, crops and resizes. Only three-channel YCbCr files that are complete and upright go
  there; workers decode all others, and the CPU what nvJPEG refuses. **This was never run on a GPU**: it is tested
  with the CPU's decoder in nvJPEG's place, where the resize differs by at most 1 grey level. How nvJPEG's own
  pixels differ is not known. Transforms that run in workers (policies, rotation, `register_transform`) keep the
  CPU; `decoder = "cuda"` is then an error.
- The harness measures on generated images, once for each kind of GPU, processor and number of cores, keeps the
  answer, and gives it to every run (`--decoder`). A run decoded on a GPU has another identity, and cannot be
  resumed with another decoder. `decoder = "turbo"` makes runs independent of the machine here. torchvision
  deprecated its decoders in 0.29; where they are missing, the CPU decodes.
"""


def write_section(text: str, page: Path = PAGE) -> None:
    """Replace the section "Loader" of a page."""
    before = page.read_text(encoding="utf-8")
    replaced = re.sub(
        r"(?<=\n## Loader\n).*?(?=\n## )", lambda _: f"\n{text}", before, count=1, flags=re.S
    )
    write_text(page, replaced)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scripts.loader")
    parser.add_argument("--images", type=int, default=128, help="files of a round")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that are counted")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page that has the section")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        size = write_files(root, options.images)
        rates = measure(root, options.rounds)
        text = section(rates, bytes_per_image(root), size, colour_difference(root))
    print(text)
    write_section(text, options.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
