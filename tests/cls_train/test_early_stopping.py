"""A run that no longer improves ends early, and says so."""

import json

import pytest

from cls_train.train import Classification
from engine.task import main


@pytest.mark.filterwarnings("ignore")
def test_training_ends_when_top1_stands_still(image_folder, tiny_config, tmp_path, monkeypatch):
    from cls_train.metric import TopKAccuracy

    scores = iter([40.0, 50.0, 50.05, 50.0, 50.0, 60.0, 60.0, 60.0])
    monkeypatch.setattr(
        TopKAccuracy, "compute_metrics", lambda self, results: {"top1": next(scores), "top5": 100.0}
    )
    words = [str(tiny_config), "--data", str(image_folder), "--work-dir", str(tmp_path)]
    words += ["--backbone", "resnet10_b-w8", "--trick", "early_stopping", "--set", "epochs=8"]
    assert main(Classification(), words) == 0
    curve = json.loads((tmp_path / "curves.json").read_text())["val"]
    # Three validations without 0.1 points more than 50.0, which came in epoch 2.
    assert [point["top1"] for point in curve] == [40.0, 50.0, 50.05, 50.0, 50.0]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["metrics"][0]["value"] == 50.0
