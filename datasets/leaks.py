"""Find test images that are also in the training split, byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from datasets.records import Content
from datasets.report import Problem

# Public datasets such as CIFAR-10 and ImageNet have a few such pairs; more mean that the split is wrong.
TOLERATED_FRACTION = 0.01


def find_leaks(train: Sequence[Content], test: Sequence[Content]) -> list[tuple[Path, Path]]:
    """Pair each image of the test split with one of the training split that has the same content.

    Args:
        train: Images to train on.
        test: Images to test on.

    Returns:
        (test image, training image), in the order of `test`. Missing files are ignored; other checks report them.
    """
    by_size: dict[int, list[Content]] = {}
    wanted = [(image, size) for image in test if (size := image.size()) is not None]
    sizes = {size for _, size in wanted}
    for image in train:
        if (size := image.size()) in sizes:
            by_size.setdefault(size, []).append(image)  # pyright: ignore[reportArgumentType]
    # Only files of equal size can be equal, so few are read.
    digests = {_digest(image): image.path for images in by_size.values() for image in images}
    found = []
    for image, size in wanted:
        if size in by_size and (twin := digests.get(_digest(image))) is not None:
            found.append((image.path, twin))
    return found


def leak_problems(train: Sequence[Content], test: Sequence[Content]) -> list[Problem]:
    """Report test images that are trained on, as errors if they are more than 1% of the test images."""
    leaks = find_leaks(train, test)
    many = len(leaks) > TOLERATED_FRACTION * len(test)
    advice = (
        f"; {len(leaks)} of {len(test)} test images are, so the test says nothing: divide the images again"
        if many
        else "; the few such pairs stay as they are"
    )
    return [
        Problem(
            path,
            f"the test image is also trained on, as {twin.name}{advice}",
            "error" if many else "noted",
        )
        for path, twin in leaks
    ]


def _digest(image: Content) -> bytes:
    return hashlib.sha256(image.read()).digest()
