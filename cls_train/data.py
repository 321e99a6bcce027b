"""Images of the ImageFolder layout, and the transforms of the paper's pipeline."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import DATASETS
from torch import Tensor, nn
from torchvision.transforms import v2

from cls_train.erasing import Cutout, Erasing
from contract.errors import UserError, unknown
from datasets.images import read_rgb
from datasets.layouts.imagefolder import Folder


@DATASETS.register_module()
class ImageFolderDataset:
    """`root/<class>/*.jpg`; a sample is `{'inputs': (3, H, W) in 0..255, 'labels': class index}`.

    Args:
        root: The split's folder, such as `data/imagenet/train`.
        pipeline: Transforms, each `dict(type=…, …)`, applied in order to a PIL image.
        classes: The class folders that must be there; those found when not given.

    Raises:
        UserError: The folder is missing, has no class folders, an empty one, or other ones than `classes`.
    """

    def __init__(
        self, root: str, pipeline: Sequence[Mapping[str, Any]], classes: Sequence[str] | None = None
    ) -> None:
        folder = Folder(Path(root))
        found = folder.classes()
        if classes is not None and tuple(classes) != found:
            odd = sorted(set(found) ^ set(classes))
            raise UserError(
                f"{root} has other class folders than the training set (for example {odd[:3]}); "
                "both splits need the same ones"
            )
        # Plain pairs: a `Path` for each of a million images would take half a gigabyte.
        self.samples = [(str(sample.image), sample.label) for sample in folder.samples()]
        self.classes = found
        self.transform = build_pipeline(pipeline)

    @property
    def metainfo(self) -> dict[str, Any]:
        """The class names in label order."""
        return {"classes": self.classes}

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Path and label of a sample."""
        path, label = self.samples[index]
        return {"img_path": path, "label": label}

    def classes_in(self, info: dict[str, Any]) -> frozenset[Hashable]:
        """Return the class of an image, from its annotation; few-shot subsets are stratified by it."""
        return frozenset([info["label"]])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path, label = self.samples[index]
        return {"inputs": self.transform(read_rgb(path)), "labels": label}


def build_pipeline(transforms: Sequence[Mapping[str, Any]]) -> nn.Module:
    """Compose transforms by name: ours, else those of `torchvision.transforms.v2`.

    Raises:
        UserError: A name is unknown, or torchvision refuses its arguments.
    """
    built: list[nn.Module] = []
    for transform in transforms:
        arguments = dict(transform)
        name = arguments.pop("type")
        cls = OWN_TRANSFORMS.get(name) or getattr(v2, name, None)
        if cls is None:
            raise unknown("transform", name, [*OWN_TRANSFORMS, *_torchvision_transforms()])
        try:
            built.append(cls(**arguments))
        except (TypeError, ValueError) as error:
            raise UserError(f"the transform {name}: {error}") from None
    return v2.Compose(_place_conversions(built))


def _torchvision_transforms() -> list[str]:
    return [n for n, c in vars(v2).items() if isinstance(c, type) and issubclass(c, nn.Module)]


def _place_conversions(transforms: list[nn.Module]) -> list[nn.Module]:
    """PIL images up to the first transform that wants float pixels, tensors from there on."""
    wants_floats = tuple(OWN_TRANSFORMS.values())
    split = next(
        (i for i, t in enumerate(transforms) if isinstance(t, wants_floats)), len(transforms)
    )
    head, tail = transforms[:split], transforms[split:]
    if tail:
        tail = [v2.ToDtype(torch.float32), *tail]
    return [*head, v2.PILToTensor(), *tail]


class PCANoise(nn.Module):
    """AlexNet's colour noise (paper §2.1): one shift of the whole image along ImageNet's colour axes.

    The shift is Σ_k α_k λ_k p_k with α_k ~ N(0, std), λ_k and p_k the eigenvalues and eigenvectors of the
    covariance of ImageNet's RGB pixels on the scale 0..255 (Krizhevsky et al. 2012, §4.1; the values are those
    of MXNet's and GluonCV's lighting augmentation).

    Args:
        std: Standard deviation of the coefficients.
    """

    EIGENVALUES = (55.46, 4.794, 1.148)
    EIGENVECTORS = (
        (-0.5675, 0.7192, 0.4009),
        (-0.5808, -0.0045, -0.8140),
        (-0.5836, -0.6948, 0.4203),
    )

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std
        self.axes = torch.tensor(self.EIGENVECTORS) * torch.tensor(self.EIGENVALUES)

    def forward(self, image: Tensor) -> Tensor:
        """Shift a float image `(3, H, W)` on the scale 0..255."""
        coefficients = torch.from_numpy(np.random.normal(0, self.std, 3).astype(np.float32))
        return image + (self.axes @ coefficients)[:, None, None]


# Names that ours take before torchvision's.
OWN_TRANSFORMS: dict[str, type[nn.Module]] = {
    "Cutout": Cutout,
    "Erasing": Erasing,
    "PCANoise": PCANoise,
}
