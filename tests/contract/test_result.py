"""`result.json`: a round trip, and the errors for invalid content."""

import json
from pathlib import Path

import pytest

from contract.errors import UserError
from contract.result import read_result, write_result
from contract.tasks import TASKS

FIELDS = {
    "stage": "cls",
    "identity": "ab",
    "config": "mini",
    "backbone": "resnet10_b",
    "recipe": "standard",
    "tricks": ["mixup"],
    "budget": "full",
    "seed": 3,
    "metrics": [{"name": "top1", "value": 71.25}],
    "protocol": {"metric": "top-1"},
    "data": {
        "classes": 10,
        "train_images_total": 4,
        "train_images_used": 4,
        "test_images_total": 2,
        "test_images_used": 2,
    },
    "model": {"backbone_parameters": 1_500_000, "parameters": 2_000_000},
    "checkpoint": None,
    "device": {"type": "cpu", "name": "a CPU", "count": 2},
    "precision": {"dtype": "float32", "reason": "asked for"},
    "wall_seconds": 3,
    "train_images_per_second": 12.5,
    "peak_memory_mib": 100.0,
    "artifacts": {"curves": "curves.json"},
}


@pytest.fixture
def path(tmp_path):
    write_result(tmp_path / "result.json", FIELDS)
    return tmp_path / "result.json"


def _edit(path, **changes):
    content = json.loads(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        if value is KeyError:
            del content[key]
        else:
            content[key] = value
    path.write_text(json.dumps(content), encoding="utf-8")


def test_keys_of_the_file(path):
    written = json.loads(path.read_text(encoding="utf-8"))
    assert (written["schema_version"], written["status"], written["stage"]) == (
        1,
        "completed",
        "cls",
    )
    assert written["metrics"] == [
        {"name": "top1", "value": 71.25, "unit": "%", "higher_is_better": True}
    ]
    assert set(written["code"]) == {"git_sha", "dirty"}
    assert written["packages"]["mmengine"] == "0.10.7"
    assert "path" not in written


def test_round_trip(path):
    result = read_result(path)
    assert (result.task, result.seed, result.tricks, result.path) == ("cls", 3, ("mixup",), path)
    columns = result.columns()
    assert columns["top1"].value == 71.25
    assert columns["backbone_parameters"].value == 1.5
    assert columns["train_images_per_second"].value == 12.5


def test_documented_example_is_valid():
    result = read_result(Path(__file__).parents[2] / "docs" / "examples" / "result.json")
    assert (result.task, result.data.test_images_total) == ("det", 150)


def test_cost_and_estimate_prefixes(tmp_path):
    fields = FIELDS | {
        "stage": "det",
        "metrics": [{"name": "map", "value": 30.0}],
        "transferability": [{"name": "logme", "value": -0.5, "samples": 7}],
    }
    write_result(tmp_path / "result.json", fields)
    columns = read_result(tmp_path / "result.json").columns()
    assert (columns["det_logme"].value, columns["det_logme"].unit) == (-0.5, "nats")
    assert columns["det_peak_memory"].value == 100.0
    assert "peak_memory" not in columns


def test_reads_file_without_costs(path):
    _edit(
        path,
        costs=KeyError,
        transferability=KeyError,
        lr_factor=KeyError,
        inference=KeyError,
        train_images_per_cpu_second=KeyError,
        model={"backbone_parameters": 5},
    )
    assert read_result(path).lr_factor == 1.0


def test_ignores_newer_keys(path):
    _edit(path, something_new=3)
    assert read_result(path).seed == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": KeyError}, "it has no key 'seed'"),
        ({"seed": "3"}, "'seed' is '3', expected a valid integer"),
        ({"seed": True}, "'seed' is True, expected a valid integer"),
        ({"schema_version": 2}, "has schema_version 2; this version reads 1"),
        ({"status": "failed"}, "'status' is 'failed', expected 'completed'"),
        ({"stage": "dte"}, "'stage' is 'dte', expected one of"),
        ({"budget": "tiny"}, "'budget' is 'tiny', expected one of"),
        ({"metrics": []}, "task 'cls' also needs \\['top1'\\]"),
        ({"metrics": [{"name": "top1", "value": "x"}]}, "'metrics\\[0\\].value' is 'x'"),
        ({"data": 3}, "'data' is 3, expected"),
    ],
)
def test_wrong_file_is_refused(path, changes, message):
    _edit(path, **changes)
    with pytest.raises(UserError, match=message) as error:
        read_result(path)
    assert str(error.value).startswith(str(path))
    assert "start `python -m benchmarks run` again" in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"seed": ' + "9" * 5000 + "}"])
def test_invalid_values_are_refused(path, text):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"result\.json"):
        read_result(path)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_result(tmp_path / "result.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_metric_is_not_written(tmp_path, value):
    fields = FIELDS | {"metrics": [{"name": "top1", "value": value}]}
    with pytest.raises(ValueError, match="finite number"):
        write_result(tmp_path / "result.json", fields)
    assert not (tmp_path / "result.json").exists()


def test_task_cannot_write_unknown_key(tmp_path):
    with pytest.raises(ValueError, match="Extra inputs"):
        write_result(tmp_path / "result.json", FIELDS | {"sede": 3})


def test_required_metrics(tmp_path):
    for name, task in TASKS.items():
        fields = FIELDS | {"stage": name, "metrics": []}
        with pytest.raises(ValueError, match=f"task '{name}' also needs"):
            write_result(tmp_path / "result.json", fields)
        assert any(metric.required for metric in task.metrics)
