"""Images in the ImageFolder layout, and pipelines of transforms by name.

Classification trains on them; the probe computes features of their images.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from torch import nn
from torchvision.transforms import v2

from contract.errors import UserError, unknown
from datasets.layouts.imagefolder import open_split


@DATASETS.register_module()
class ImageFolderDataset:
    """`root/<class>/*.jpg`, or the same packed; a sample is `{'inputs': (3, H, W) in 0..255, 'labels': class index}`.

    Args:
        root: The split's folder, such as `data/imagenet/train`.
        pipeline: Transforms, each `dict(type=…, …)`, applied in order to a PIL image.
        classes: The class folders that must exist; None takes those that are found.

    Raises:
        UserError: The folder is missing or has no class folders, a class folder is empty, or the class folders are
            not `classes`.
    """

    # torchvision's transforms are not in mmengine's registries; `build_pipeline` checks their arguments.
    CHECKED_WHEN_BUILT = ("pipeline",)

    def __init__(
        self, root: str, pipeline: Sequence[Mapping[str, Any]], classes: Sequence[str] | None = None
    ) -> None:
        split = open_split(Path(root))
        found = split.classes()
        if classes is not None and tuple(classes) != found:
            odd = sorted(set(found) ^ set(classes))
            raise UserError(
                f"{root} has other class folders than the training set (for example {odd[:3]}); "
                "both splits need the same ones"
            )
        self.samples = split.samples()
        self.classes = found
        self.transform = build_pipeline(pipeline)

    @property
    def metainfo(self) -> dict[str, Any]:
        """The class names in label order."""
        return {"classes": self.classes}

    @property
    def blocks(self) -> np.ndarray | None:
        """The shard of each sample; None if each is in a file of its own."""
        return self.samples.blocks

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Return path and label of a sample."""
        return {"img_path": self.samples.path(index), "label": self.samples.label(index)}

    def classes_in(self, info: dict[str, Any]) -> frozenset[Hashable]:
        """Return the class of an image, from its annotation; few-shot subsets are stratified by it."""
        return frozenset([info["label"]])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        label = self.samples.label(index)
        return {"inputs": self.transform(self.samples.decode(index)), "labels": label}


# Our transforms, by name; they take float images and have priority over torchvision's.
OWN_TRANSFORMS: dict[str, type[nn.Module]] = {}


def register_transform(cls: type[nn.Module]) -> type[nn.Module]:
    """Register a transform of float images `(3, H, W)` on the scale 0 to 255 for use in configs."""
    OWN_TRANSFORMS[cls.__name__] = cls
    return cls


def build_pipeline(transforms: Sequence[Mapping[str, Any]]) -> nn.Module:
    """Build a pipeline from transforms by name: ours first, then those of `torchvision.transforms.v2`.

    Raises:
        UserError: A name is unknown, or torchvision refuses its arguments.
    """
    built: list[nn.Module] = []
    for transform in transforms:
        arguments = dict(transform)
        name = arguments.pop("type")
        cls = OWN_TRANSFORMS.get(name) or getattr(v2, name, None)
        if cls is None:
            raise unknown("transform", name, [*sorted(OWN_TRANSFORMS), *_torchvision_transforms()])
        try:
            built.append(cls(**arguments))
        except (TypeError, ValueError) as error:
            raise UserError(f"the transform {name}: {error}") from None
    return v2.Compose(_place_conversions(built))


def _torchvision_transforms() -> list[str]:
    return [n for n, c in vars(v2).items() if isinstance(c, type) and issubclass(c, nn.Module)]


def _place_conversions(transforms: list[nn.Module]) -> list[nn.Module]:
    """Convert PIL images to float tensors before the first transform that takes float pixels."""
    wants_floats = tuple(OWN_TRANSFORMS.values())
    split = next(
        (i for i, t in enumerate(transforms) if isinstance(t, wants_floats)), len(transforms)
    )
    head, tail = transforms[:split], transforms[split:]
    if tail:
        tail = [v2.ToDtype(torch.float32), *tail]
    return [*head, v2.PILToTensor(), *tail]


def transforms_of(recipe: Config, key: str) -> list[Any]:
    """Return the transforms of a pipeline; those that produce the final square get their size from `image_size`."""
    size = {
        "RandomResizedCrop": recipe.image_size,
        "CenterCrop": recipe.image_size,
        "Resize": round(recipe.image_size * recipe.test_resize_ratio),
    }
    pipeline = filled_slots(recipe, key)
    for slot in pipeline:
        if slot.type in size:
            slot.setdefault("size", size[slot.type])
    return pipeline


def filled_slots(recipe: Config, key: str) -> list[Any]:
    """Return the filled slots in order.

    Raises:
        UserError: A slot has no type, so its name is misspelt.
    """
    filled = {name: slot for name, slot in recipe[key].items() if slot is not None}
    typed = [name for name, slot in filled.items() if "type" in slot]
    for name in filled:
        if name not in typed:
            raise unknown(f"slot without a type in {key}:", name, typed)
    return list(filled.values())
