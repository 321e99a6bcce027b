"""One smoke run of every task in every precision: training, validation, averaged weights, pictures and costs."""

import json
import math

import pytest
from support.gpu_tasks import command_of
from support.places import on, placed, require

from engine.task import main
from probe.run import main as main_of_probe

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
RUNS = [on("pretended", name, "bf16") for name in ("cls", "det", "seg")]
RUNS += [on("cuda", name, precision) for name in ("cls", "det", "seg") for precision in DTYPES]


@pytest.mark.parametrize(("place", "name", "precision"), RUNS)
def test_smoke_run(place, name, precision, image_folder, tiny_config, tmp_path):
    require(place, precision)
    task, words = command_of(name, tmp_path, image_folder, tiny_config)
    work = tmp_path / "work"
    with placed(place):
        assert main(task, [*words, "--work-dir", str(work), "--precision", precision]) == 0
    result = json.loads((work / "result.json").read_text())
    assert result["status"] == "completed"
    assert result["device"]["type"] == "cuda" and result["device"]["name"]
    assert result["precision"]["dtype"] == DTYPES[precision]
    assert result["peak_memory_mib"] > 0
    costs = {cost["name"]: cost["value"] for cost in result["costs"]}
    assert costs["latency"] > 0 and costs["inference_memory"] > 0 and costs["multiply_adds"] > 0
    assert result["inference"]["precision"] == "float32"
    assert result["inference"]["notes"] == []
    curves = json.loads((work / "curves.json").read_text())
    assert curves["train"] and all(math.isfinite(point["loss"]) for point in curves["train"])


@pytest.mark.parametrize("place", [on("pretended"), on("cuda")])
def test_probe(place, image_folder, tmp_path):
    words = ["imagenet", "--data", str(image_folder), "--work-dir", str(tmp_path)]
    for setting in ("image_size=32", "test_resize_ratio=1.0", "workers=0"):
        words += ["--set", setting]
    with placed(place):
        assert main_of_probe([*words, "--backbone", "resnet10_b-w8"]) == 0
    assert json.loads((tmp_path / "result.json").read_text())["device"]["type"] == "cuda"
