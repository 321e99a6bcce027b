"""The rows of the contact sheet: every trick that changes images, applied to the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image
from torch import Tensor
from torch.nn import functional

import cls_train.mixing
import cls_train.transforms  # noqa: F401  (both register types for configs)
from cls_train.assemble import CONFIGS
from contract.errors import UserError
from datasets.images import read_rgb
from engine import config as configs
from engine.image_folder import ImageFolderDataset, build_pipeline, filled_slots, transforms_of
from engine.runner.seeding import seed_everything

CONFIG = "imagenet"
# Smaller changes of pixel values (0 to 255) are hardly visible; the caption then states the largest change.
HARDLY_SEEN = 16
NO_BREAK = "\u00a0"


@dataclass(frozen=True)
class SheetRow:
    """A row of the sheet.

    Attributes:
        name: The trick, or the base config's slot.
        details: The types of its slots with their arguments.
        tiles: One image per column, `(3, H, W)` uint8.
        captions: Lines under each image; may be empty.
    """

    name: str
    details: str
    tiles: list[Tensor]
    captions: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class ImageTrick:
    """A trick, or a slot of the base config, that changes images.

    Attributes:
        name: Name of the trick or slot.
        recipe: The config with the trick.
        transforms: Names of the slots of `train_pipeline` to show.
        mixing: Names of the slots of `batch_mixing`.
    """

    name: str
    recipe: Config
    transforms: tuple[str, ...]
    mixing: tuple[str, ...]

    def described(self) -> str:
        """Return the types and arguments of its slots, as in the config files."""
        slots = [self.recipe.train_pipeline[name] for name in self.transforms]
        slots += [self.recipe.batch_mixing[name] for name in self.mixing]
        return ", ".join(_described(slot) for slot in slots if slot is not None)

    def pipeline(self) -> list[Any]:
        """Return the configs of its transforms with their sizes."""
        return transforms_of(
            _only(self.recipe, "train_pipeline", self.transforms), "train_pipeline"
        )

    def mixers(self) -> list[Any]:
        """Return the configs of its mixing modules."""
        return filled_slots(_only(self.recipe, "batch_mixing", self.mixing), "batch_mixing")


def _only(recipe: Config, key: str, names: tuple[str, ...]) -> Config:
    """Return a copy of a recipe with only the named slots of a dict."""
    copy = Config(recipe._cfg_dict.to_dict())
    copy[key] = {name: slot for name, slot in copy[key].items() if name in names}
    return copy


def base_steps() -> list[ImageTrick]:
    """Return the steps of the base config's training pipeline."""
    base = configs.load(CONFIGS, CONFIG, (), {})
    filled = [name for name, slot in base.train_pipeline.items() if slot is not None]
    return [ImageTrick(name, base, (name,), ()) for name in filled]


def image_tricks() -> list[ImageTrick]:
    """Return every trick that changes a slot of the pipeline or of batch mixing; transforms come first."""
    base = configs.load(CONFIGS, CONFIG, (), {})
    order = list(base.train_pipeline)
    found = []
    for name in configs.names(CONFIGS / "tricks"):
        recipe = configs.load(CONFIGS, CONFIG, (name,), {})
        transforms, mixers = (
            tuple(slot for slot, value in recipe[key].items() if value != base[key].get(slot))
            for key in ("train_pipeline", "batch_mixing")
        )
        if transforms or mixers:
            found.append(ImageTrick(name, recipe, transforms, mixers))

    def place(trick: ImageTrick) -> tuple[bool, int]:
        first = trick.transforms[0] if trick.transforms else None
        return bool(trick.mixing), order.index(first) if first in order else len(order)

    return sorted(found, key=place)


def choose_images(folder: Path, columns: int) -> tuple[list[Path], list[str]]:
    """Choose images spread evenly over a split, with their classes.

    Args:
        folder: A split in the ImageFolder layout.
        columns: The largest number of images.

    Raises:
        UserError: The folder has another layout, or contains only one image.
    """
    dataset = ImageFolderDataset(str(folder), ())
    count = min(columns, len(dataset))
    if count < 2:
        raise UserError(f"{folder} holds one image; the sheet mixes images and needs two or more")
    chosen = [dataset.samples[index * len(dataset) // count] for index in range(count)]
    return [one.image for one in chosen], [dataset.classes[one.label] for one in chosen]


def make_rows(paths: Sequence[Path], names: Sequence[str], seed: int) -> dict[str, list[SheetRow]]:
    """Apply every step and trick separately to images that are resized and cropped as in a test.

    Every row uses the same seeds, so rows that differ in one argument show the same random draw.

    Args:
        paths: One image per column.
        names: Their classes.
        seed: Seed of all random numbers.

    Returns:
        The rows by their heading.
    """
    images = [read_rgb(path) for path in paths]
    test = transforms_of(configs.load(CONFIGS, CONFIG, (), {}), "test_pipeline")
    originals = [build_pipeline(test)(image) for image in images]
    side = originals[0].shape[-1]
    first = SheetRow(
        "original", f"resized and cropped to {side} pixels", originals, [[name] for name in names]
    )
    groups = {"": [first], "Base pipeline": [], "Tricks on one image": [], "Tricks on a batch": []}
    for heading, tricks in (("Base pipeline", base_steps()), (None, image_tricks())):
        for trick in tricks:
            under = heading or ("Tricks on a batch" if trick.mixing else "Tricks on one image")
            groups[under].append(_row(trick, images, originals, names, test, seed))
    return groups


def _row(
    trick: ImageTrick,
    images: Sequence[Image.Image],
    originals: Sequence[Tensor],
    names: Sequence[str],
    test: list[Any],
    seed: int,
) -> SheetRow:
    tiles, captions = list(originals), []
    if trick.transforms:
        # The training crop replaces the test crop.
        cropped = "crop" in trick.transforms
        pipeline = build_pipeline([*([] if cropped else test), *trick.pipeline()])
        tiles = []
        for column, image in enumerate(images):
            seed_everything(seed, column)
            tiles.append(_as_bytes(pipeline(image)))
        captions = [] if cropped else list(map(_change_caption, tiles, originals))
    if trick.mixing:
        tiles, weights = mix(trick.mixers(), tiles, names, seed)
        captions = [
            [f"{weight:.2f} {name}" for name, weight in one.items() if weight >= 0.005]
            for one in weights
        ]
    return SheetRow(trick.name, trick.described(), tiles, captions if any(captions) else [])


def mix(
    slots: Sequence[Any], tiles: Sequence[Tensor], names: Sequence[str], seed: int
) -> tuple[list[Tensor], list[dict[str, float]]]:
    """Mix images as training mixes a batch.

    Args:
        slots: Configs of mixing modules.
        tiles: `(3, H, W)` uint8 each.
        names: Their classes.
        seed: Seed of all random numbers.

    Returns:
        The mixed images, and the label weights of each by class, the largest first.
    """
    classes = sorted(set(names))
    images = torch.stack(list(tiles)).float()
    labels = torch.tensor([classes.index(name) for name in names])
    targets = functional.one_hot(labels, len(classes)).float()
    seed_everything(seed)
    for slot in slots:
        images, targets = MODELS.build(slot)(images, targets)
    weights = [
        dict(sorted(zip(classes, row, strict=True), key=lambda item: -item[1]))
        for row in targets.tolist()
    ]
    return [_as_bytes(image) for image in images], weights


def _as_bytes(image: Tensor) -> Tensor:
    return image if image.dtype == torch.uint8 else image.round().clamp(0, 255).to(torch.uint8)


def _change_caption(tile: Tensor, original: Tensor) -> list[str]:
    """Return the caption of an image that looks like the original; empty if the change is visible."""
    most = int((tile.int() - original.int()).abs().max())
    if most == 0:
        return ["unchanged"]
    return [f"by ≤ {most} of 255"] if most < HARDLY_SEEN else []


def _described(slot: Mapping[str, Any]) -> str:
    """Return a slot as a call, with numbers to three digits."""
    words = [f"{key}{NO_BREAK}{_number(value)}" for key, value in slot.items() if key != "type"]
    return f"{slot['type']} ({', '.join(words)})" if words else slot["type"]


def _number(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " to ".join(map(_number, value))
    return f"{value:.3g}" if isinstance(value, (int, float)) else str(value)
