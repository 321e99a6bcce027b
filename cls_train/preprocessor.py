"""The data preprocessor of the classifier: batch transforms and normalisation on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import ImgDataPreprocessor
from mmengine.registry import MODELS

from engine.augmentation import Augmentation


@MODELS.register_module()
class AugmentingPreprocessor(ImgDataPreprocessor):
    """mmengine's normalisation, and the batch transforms of training images.

    Args:
        mean: Mean of each channel, on the scale 0 to 255.
        std: Standard deviation of each channel.
        augment: The batch transforms, as `engine.image_folder.split_pipeline` returns them.
    """

    # `engine.augmentation` checks their arguments.
    CHECKED_WHEN_BUILT = ("augment",)

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        augment: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(mean=mean, std=std)
        self.augmentation = Augmentation(augment) if augment else None

    def forward(self, data: dict[str, Any], training: bool = False) -> Any:
        """Copy a batch to the device, change training images, and normalise.

        Args:
            data: `inputs` `(N, 3, H, W)`, `labels` `(N,)` and, of training images with batch transforms, `augment`
                `(N, K)`.
            training: Whether the batch is trained on.
        """
        if self.augmentation is None or "augment" not in data:
            return super().forward(data, training)
        copied: Any = self.cast_data(data)
        numbers = copied.pop("augment")
        copied["inputs"] = self.augmentation(copied["inputs"], numbers, self.mean, self.std)
        copied.setdefault("data_samples", None)
        return copied
