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
from mmengine.registry import DATASETS, FUNCTIONS
from torch import Tensor, nn
from torch.utils.data import default_collate
from torchvision.transforms import v2

from contract.errors import UserError, unknown
from datasets.layouts.imagefolder import open_split
from engine.augmentation import (
    BATCH_TRANSFORMS,
    Augmentation,
    OneImage,
    build_batch_transform,
)
from engine.decoding import RandomCrop, decode_plain_jpeg, to_bytes, to_pillow

# How training images are decoded, cropped and resized: by simplejpeg and torch, or by Pillow.
DECODERS = ("turbo", "pillow")


@DATASETS.register_module()
class ImageFolderDataset:
    """`root/<class>/*.jpg`, or the same packed; a sample is `{'inputs': (3, H, W) in 0..255, 'labels': class index}`.

    The last transforms of a pipeline may be batch transforms, which the data preprocessor applies. A sample then also
    has their numbers: `'augment'` `(K,)`.

    Args:
        root: The split's folder, such as `data/imagenet/train`.
        pipeline: Transforms, each `dict(type=…, …)`, applied in order.
        classes: The class folders that must exist; None takes those that are found.
        decoder: One of `DECODERS`. `turbo` concerns pipelines that start with `RandomResizedCrop`; others, such as
            those of test images, use Pillow.

    Raises:
        UserError: The folder is missing or has no class folders, a class folder is empty, or the class folders are
            not `classes`.
    """

    # torchvision's transforms are not in mmengine's registries; `build_pipeline` checks their arguments.
    CHECKED_WHEN_BUILT = ("pipeline",)

    def __init__(
        self,
        root: str,
        pipeline: Sequence[Mapping[str, Any]],
        classes: Sequence[str] | None = None,
        decoder: str = "turbo",
    ) -> None:
        if decoder not in DECODERS:
            raise unknown("decoder", decoder, DECODERS)
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
        own, batch = split_pipeline(pipeline)
        self.augmentation = Augmentation(batch) if batch else None
        built = _build(own)
        self.crop = _random_crop(built) if decoder == "turbo" else None
        if self.crop is not None:
            built = built[1 if self.crop.flip_probability is None else 2 :]
        # None: the crop is the whole pipeline.
        self.transform = None if self.crop is not None and not built else _compose(built)

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
        image = self._image(index)
        sample = {"inputs": image, "labels": self.samples.label(index)}
        if self.augmentation is not None:
            sample["augment"] = self.augmentation.draw(*image.shape[-2:])
        return sample

    def _image(self, index: int) -> Tensor:
        if self.crop is None:
            assert self.transform is not None
            return self.transform(self.samples.decode(index))
        image = self.crop(self._decode(index))
        return image if self.transform is None else self.transform(to_pillow(image))

    def _decode(self, index: int) -> Tensor:
        try:
            image = decode_plain_jpeg(self.samples.read(index))
        except OSError:
            image = None
        # Pillow repairs the image, or says what is wrong with it.
        return to_bytes(self.samples.decode(index)) if image is None else image


@FUNCTIONS.register_module()
def collate_images(samples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Collate samples; the channels of a pixel stay side by side in memory (channels_last)."""
    rows = [{**sample, "inputs": sample["inputs"].permute(1, 2, 0)} for sample in samples]
    batch = default_collate(rows)
    batch["inputs"] = batch["inputs"].permute(0, 3, 1, 2)
    return batch


# Our transforms, by name; they take float images and have priority over torchvision's.
OWN_TRANSFORMS: dict[str, type[nn.Module]] = {}


def register_transform(cls: type[nn.Module]) -> type[nn.Module]:
    """Register a transform of float images `(3, H, W)` on the scale 0 to 255 for use in configs.

    It runs in the loader's workers. `engine.augmentation` has transforms that run on the training device.
    """
    OWN_TRANSFORMS[cls.__name__] = cls
    return cls


def build_pipeline(transforms: Sequence[Mapping[str, Any]]) -> nn.Module:
    """Build a pipeline for single images from transforms by name: ours first, then `torchvision.transforms.v2`'s.

    Raises:
        UserError: A name is unknown, or torchvision refuses its arguments.
    """
    return _compose(_build(transforms))


def split_pipeline(
    transforms: Sequence[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Split a pipeline into the transforms of loader workers and the batch transforms after the last of them."""
    split = len(transforms)
    while split and transforms[split - 1]["type"] in BATCH_TRANSFORMS:
        split -= 1
    return list(transforms[:split]), list(transforms[split:])


def _build(transforms: Sequence[Mapping[str, Any]]) -> list[nn.Module]:
    built: list[nn.Module] = []
    for transform in transforms:
        arguments = dict(transform)
        name = arguments.pop("type")
        if name in BATCH_TRANSFORMS:
            built.append(OneImage(build_batch_transform(transform)))
            continue
        cls = OWN_TRANSFORMS.get(name) or getattr(v2, name, None)
        if cls is None:
            ours = sorted((*OWN_TRANSFORMS, *BATCH_TRANSFORMS))
            raise unknown("transform", name, [*ours, *_torchvision_transforms()])
        try:
            built.append(cls(**arguments))
        except (TypeError, ValueError) as error:
            raise UserError(f"the transform {name}: {error}") from None
    return built


def _random_crop(transforms: Sequence[nn.Module]) -> RandomCrop | None:
    """Return the crop and flip at the start of a pipeline; None if it starts with something else."""
    if not transforms or not RandomCrop.fits(transforms[0]):
        return None
    crop: Any = transforms[0]
    flip = transforms[1] if len(transforms) > 1 else None
    return RandomCrop(crop, flip if type(flip) is v2.RandomHorizontalFlip else None)


def _torchvision_transforms() -> list[str]:
    return [n for n, c in vars(v2).items() if isinstance(c, type) and issubclass(c, nn.Module)]


def _compose(transforms: list[nn.Module]) -> nn.Module:
    """Convert PIL images to float tensors before the first transform that takes float pixels."""
    wants_floats = (*OWN_TRANSFORMS.values(), OneImage)
    split = next(
        (i for i, t in enumerate(transforms) if isinstance(t, wants_floats)), len(transforms)
    )
    head, tail = transforms[:split], transforms[split:]
    if tail:
        tail = [v2.ToDtype(torch.float32), *tail]
    return v2.Compose([*head, v2.PILToTensor(), *tail])


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
