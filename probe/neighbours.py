"""Weighted k-nearest-neighbour classification."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

# Test images per chunk; their similarities to all training images are in memory.
CHUNK = 128


def nearest_votes(
    train: Tensor,
    labels: Tensor,
    test: Tensor,
    classes: int,
    neighbours: Sequence[int],
    temperature: float,
) -> dict[int, Tensor]:
    """Classify by votes of the k most similar training images, with weights exp(cosine / temperature).

    Source: Wu et al. 2018 (1805.01978), §3.4; DINO (2104.14294), §4, has k = 20 and temperature 0.07.

    Args:
        train: Features (n, d).
        labels: Their class indices (n,).
        test: Features (m, d).
        classes: K.
        neighbours: The values of k; a k above n uses all n.
        temperature: Softmax temperature, above 0.

    Returns:
        The predicted class indices (m,) by k; ties go to the lower index.
    """
    train = functional.normalize(train, dim=1)
    found: dict[int, list[Tensor]] = {k: [] for k in neighbours}
    most = min(max(neighbours), len(train))
    for chunk in functional.normalize(test, dim=1).split(CHUNK):
        similarity, nearest = (chunk @ train.T).topk(most)
        weights = torch.exp(similarity.double() / temperature)
        votes = weights[..., None] * functional.one_hot(labels[nearest], classes)
        for k in neighbours:
            found[k].append(votes[:, :k].sum(dim=1).argmax(dim=1))
    return {k: torch.cat(parts) for k, parts in found.items()}
