"""The normalisation of images that a backbone's weights were trained with."""

from __future__ import annotations

from typing import Any

from engine.job import Job

# ImageNet's statistics (1812.01187, §2.1), for a backbone that starts from random weights.
_MEAN = [123.68, 116.779, 103.939]
_STD = [58.393, 57.12, 57.375]


def normalisation(job: Job) -> dict[str, Any]:
    """Return the arguments of a data preprocessor that reads BGR images.

    Args:
        job: Its checkpoint states mean, standard deviation (scale 0 to 255) and channel order.

    Returns:
        `mean`, `std` and `bgr_to_rgb`.
    """
    if job.source is None:
        return dict(mean=list(_MEAN), std=list(_STD), bgr_to_rgb=True)
    return dict(
        mean=list(job.source.mean),
        std=list(job.source.std),
        bgr_to_rgb=job.source.channel_order == "RGB",
    )
