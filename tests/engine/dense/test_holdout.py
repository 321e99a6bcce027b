"""A run with the trick `holdout`: its protocol, its learning rate, and that it reads no test image."""

import hashlib
import json

import pytest
from support.dense_world import result_of

SENTENCE = "; on training images held out (one in 5, by the hash of the name), not on the test set"
NAMES = ("000", "001", "002", "003")


def _held_out(name):
    return int(hashlib.sha256(name.encode()).hexdigest()[8:16], 16) % 5 == 0


def _spoil_test_images(world):
    test = [p for p in world.tree.root.rglob("*") if p.stem in ("004", "005")]
    assert len(test) == 4
    for path in test:
        path.write_bytes(b"neither an image nor an annotation")


def test_run_states_test_split_and_lr(world, tmp_path):
    _spoil_test_images(world)
    rates = {}
    for factor in ("1", "0.3"):
        work = tmp_path / factor
        options = ("--backbone", "resnet10_b-w8", "--trick", "holdout", "--lr-factor", factor)
        assert world.run(work, *options) == 0
        curves = json.loads((work / "curves.json").read_text())
        rates[factor] = [point["lr"] for point in curves["train"]]
    assert rates["0.3"][0] == pytest.approx(0.3 * rates["1"][0], rel=1e-9)
    if world.name == "seg":
        # Two of the batch of 8 that the rate 0.1 belongs to.
        assert rates["1"][0] == pytest.approx(0.1 / 4, rel=1e-9)
    result = result_of(work)
    assert result["lr_factor"] == 0.3
    ratio = {"det": "0.15", "seg": "0.075"}[world.name]
    assert result["protocol"]["batch"] == (
        f"2 images a step, learning rate {ratio} of the config's (--lr-factor 0.3)"
    )
    assert result["protocol"]["test"].endswith(SENTENCE)
    data = result["data"]
    kept = [name for name in NAMES if not _held_out(name)]
    assert (data["train_images_total"], data["test_images_total"]) == (len(kept), 4 - len(kept))
