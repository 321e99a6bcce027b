"""Stratified subsets."""

import math

import numpy as np
import pytest

from contract.errors import UserError
from engine.few_shot import stratified_subset
from engine.runner.seeding import SeededDataset


def _images(count, seed):
    """Images with classes of very different frequency, some with none."""
    random = np.random.default_rng(seed)
    frequencies = (0.6, 0.2, 0.05, 0.01)
    return [
        frozenset(np.flatnonzero(random.random(len(frequencies)) < frequencies).tolist())
        for _ in range(count)
    ]


@pytest.mark.parametrize("fraction", [0.01, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("seed", [0, 1])
def test_keeps_class_frequencies(fraction, seed):
    labels = _images(2000, 7)
    chosen = stratified_subset(labels, fraction, seed)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == pytest.approx(2000 * fraction, abs=4)
    for label in range(4):
        total = sum(label in found for found in labels)
        got = sum(label in labels[i] for i in chosen)
        # A draw without strata would deviate by the square root of the expected count.
        assert abs(got - max(1, fraction * total)) <= 1.5, label


def test_seed_decides_images():
    labels = _images(500, 3)
    draws = [stratified_subset(labels, 0.1, seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert len(set(draws[0]) & set(draws[2])) < 25


def test_rare_class_is_kept():
    labels = [frozenset([0])] * 99 + [frozenset([1])]
    assert 99 in stratified_subset(labels, 0.05, 0)
    assert len(stratified_subset(labels, 0.05, 0)) in (5, 6)


def test_images_without_classes_are_drawn_too():
    assert len(stratified_subset([frozenset()] * 50, 0.1, 0)) == 5


class Boxes:
    """Ten images, repeated three times as mmengine's `RepeatDataset` does."""

    times = 3

    def __len__(self):
        return 30

    def get_data_info(self, index):
        label = index % 2
        return {"instances": [dict(bbox_label=label, ignore_flag=0)], "index": index % 10}

    def classes_in(self, info):
        return frozenset(instance["bbox_label"] for instance in info["instances"])

    def __getitem__(self, index):
        return index % 10


def test_epoch_length_is_kept():
    dataset = SeededDataset(Boxes(), seed=0, fraction=0.3)
    assert (len(dataset), dataset.images_total) == (30, 10)
    seen = [dataset[position] for position in range(30)]
    assert len(set(seen)) == dataset.images_used == 3
    assert {image % 2 for image in seen} == {0, 1}
    counts = [seen.count(image) for image in set(seen)]
    assert counts == [10, 10, 10]
    # Both the sampler's second epoch and mmdet's question for annotations mean the same image.
    assert [dataset[position] for position in range(30, 60)] == seen
    assert [dataset.get_data_info(p)["index"] for p in range(30)] == seen


def test_dataset_without_classes_is_refused():
    class Unknown(Boxes):
        classes_in = None

    with pytest.raises(UserError, match="few-shot subset needs images with boxes"):
        SeededDataset(Unknown(), seed=0, fraction=0.3)


def test_count_matches_fraction():
    for count, fraction in ((100, 0.1), (137, 0.2)):
        found = stratified_subset([frozenset([i % 5]) for i in range(count)], fraction, 0)
        assert abs(len(found) - math.floor(count * fraction)) <= 3
