"""The table of passes that fit."""

import json

import pytest

from benchmarks.scripts import memory


def test_smaller_cards_get_smaller_passes(tmp_path, capsys):
    file = tmp_path / "memory.json"
    words = ["--backbones", "resnet50_d", "--gib", "1", "4", "24", "--json", str(file)]
    assert memory.main(words) == 0
    small, middle, large = json.loads(file.read_text())
    assert small["images"] == 0
    assert 0 < middle["images"] < large["images"] == 128
    assert middle["needed_gib"] <= 4
    # Half the images need about half the memory, apart from weights, gradients and workspaces.
    assert large["needed_gib"] / middle["needed_gib"] == pytest.approx(
        128 / middle["images"], rel=0.4
    )
    assert "refused" in capsys.readouterr().out
