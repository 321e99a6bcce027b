"""Find test images that are also in the training split, byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from datasets.report import Problem

# Public datasets such as CIFAR-10 and ImageNet have a few such pairs; more mean that the split is wrong.
TOLERATED_FRACTION = 0.01


def find_leaks(train: Sequence[Path], test: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pair each image of the test split with one of the training split that has the same content.

    Args:
        train: Images to train on.
        test: Images to test on.

    Returns:
        (test image, training image), in the order of `test`. Missing files are ignored; other checks report them.
    """
    by_size: dict[int, list[Path]] = {}
    wanted = {path: path.stat().st_size for path in test if path.is_file()}
    sizes = set(wanted.values())
    for path in train:
        if path.is_file() and (size := path.stat().st_size) in sizes:
            by_size.setdefault(size, []).append(path)
    # Only files of equal size can be equal, so few are read.
    digests = {_digest(path): path for paths in by_size.values() for path in paths}
    found = []
    for path, size in wanted.items():
        if size in by_size and (twin := digests.get(_digest(path))) is not None:
            found.append((path, twin))
    return found


def leak_problems(train: Sequence[Path], test: Sequence[Path]) -> list[Problem]:
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


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
