"""A resumed run trains on the same batches as one without a break: the same images, augmented in the same way."""

import json

import pytest
from support.classification import write_images
from support.places import on, placed

from cls_train.classifier import ImageClassifier
from cls_train.train import Classification
from engine.task import main

STEPS = 6  # 3 epochs of 2


class Killed(BaseException):
    """Ends a run like a signal, which no code of the run handles."""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("few")
    write_images(root / "train", 6)
    write_images(root / "val", 1)
    return root


@pytest.fixture
def train(images, tiny_config, monkeypatch):
    """Train, and return each step's batch as the loader returns it."""
    train_step = ImageClassifier.train_step

    def run(place, work, *more, killed_at=None):
        seen = []

        def step(self, data, optim_wrapper):
            if len(seen) == killed_at:
                raise Killed
            seen.append(data["inputs"].clone())
            return train_step(self, data, optim_wrapper)

        monkeypatch.setattr(ImageClassifier, "train_step", step)
        words = [str(tiny_config), "--data", str(images), "--work-dir", str(work)]
        words += ["--backbone", "resnet10_b-w8", "--precision", "fp32", "--seed", "3", *more]
        with placed(place):
            try:
                assert main(Classification(), words) == 0
            except Killed:
                assert killed_at is not None
        return seen

    return run


@pytest.mark.parametrize("place", [on("pretended"), on("cuda")])
def test_same_batches_after_a_break(place, train, tmp_path):
    expected = train(place, tmp_path / "whole")
    assert len(expected) == STEPS
    # In the second epoch, of which nothing is saved.
    begun = train(place, tmp_path / "broken", killed_at=3)
    rest = train(place, tmp_path / "broken", "--resume")
    assert (len(begun), len(rest)) == (3, 4)
    for one, other in zip([*begun[:2], *rest], expected, strict=True):
        assert one.equal(other)
    curves = [
        [
            point["loss"]
            for point in json.loads((tmp_path / name / "curves.json").read_text())["train"]
        ]
        for name in ("whole", "broken")
    ]
    # A GPU adds in any order, and differences grow.
    assert curves[1] == pytest.approx(curves[0], rel=0 if place == "pretended" else 0.05)
