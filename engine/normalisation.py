"""The normalisation of images that a backbone's weights were trained with."""

from __future__ import annotations

from typing import Any

from backbones.normalisation import IMAGENET_MEAN, IMAGENET_STD
from engine.job import Job


def normalisation(job: Job) -> dict[str, Any]:
    """Return the arguments of a data preprocessor that reads BGR images.

    Args:
        job: The job; its checkpoint contains mean, standard deviation (scale 0 to 255) and channel order.

    Returns:
        `mean`, `std` and `bgr_to_rgb`.
    """
    if job.source is None:
        # The backbone starts from random weights.
        return dict(mean=list(IMAGENET_MEAN), std=list(IMAGENET_STD), bgr_to_rgb=True)
    return dict(
        mean=list(job.source.mean),
        std=list(job.source.std),
        bgr_to_rgb=job.source.channel_order == "RGB",
    )
