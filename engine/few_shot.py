"""Stratified subsets of a training set, for few-shot transfer.

Source: iterative stratification of multi-label data, Sechidis, Tsoumakas and Vlahavas, "On the Stratification of
Multi-Label Data", ECML PKDD 2011, algorithm 1, for the two parts "chosen" and "left".
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def stratified_subset(
    labels: Sequence[frozenset[Hashable]], fraction: float, seed: int
) -> list[int]:
    """Choose images such that about the given fraction of each class's images is kept, and at least one.

    The class with the fewest remaining images is handled first. Its images, in random order, go to the part that
    still needs more of the class. Images without a class come last.

    Args:
        labels: The classes in each image.
        fraction: Fraction of the images, in (0, 1).
        seed: Breaks ties.

    Returns:
        Positions in `labels`, ascending; about `fraction * len(labels)`, more if rare classes require it.
    """
    random = np.random.default_rng([seed, len(labels)])
    images: dict[Hashable, list[int]] = {}
    for index in random.permutation(len(labels)).tolist():
        for label in labels[index]:
            images.setdefault(label, []).append(index)
    chosen = _Part({label: max(1.0, fraction * len(found)) for label, found in images.items()})
    chosen.room = fraction * len(labels)
    left = _Part({label: len(found) - chosen.wanted[label] for label, found in images.items()})
    left.room = len(labels) - chosen.room
    undealt = set(range(len(labels)))
    while open_labels := {
        label: rest
        for label, found in images.items()
        if (rest := [index for index in found if index in undealt])
    }:
        rarest = min(open_labels, key=lambda label: (len(open_labels[label]), str(label)))
        for index in open_labels[rarest]:
            needs = [(part.wanted[rarest], part.room) for part in (chosen, left)]
            (chosen if needs[0] > needs[1] else left).take(index, labels[index])
            undealt.remove(index)
    for index in random.permutation(sorted(undealt)).tolist():
        (chosen if chosen.room > left.room else left).take(index, labels[index])
    return sorted(chosen.indices)


class _Part:
    """One of the two parts: its images, and how many it still needs, in total and of each class."""

    def __init__(self, wanted: dict[Hashable, float]) -> None:
        self.wanted = wanted
        self.room = 0.0
        self.indices: list[int] = []

    def take(self, index: int, labels: frozenset[Hashable]) -> None:
        self.indices.append(index)
        self.room -= 1
        for label in labels:
            self.wanted[label] -= 1
