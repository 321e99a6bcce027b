"""Each entry of the table of tasks agrees with the task itself."""

import ast
import importlib
import warnings

import numpy as np
import pytest
import torch

from contract.errors import UserError
from contract.settings import ROOT
from contract.tasks import DENSE_TRICKS, SOURCE, TASKS, TRANSFERS
from engine.cli import parse
from engine.config import names

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of OpenMMLab's packages at their import
    from cls_train.metric import TopKAccuracy
    from cls_train.train import Classification
    from det.metric import DetectionMetric
    from det.train import Detection
    from engine.dense.task import DenseTask
    from seg import train as seg_train
    from seg.metric import SegmentationMetric
    from seg.train import Segmentation

TRAINED = {task.name: task for task in (Classification(), Detection(), Segmentation())}
WORDS = ["mini", "--data", "d", "--work-dir", "w"]


def _evaluated(task):
    """What the task's evaluator reports, on one image."""
    if task.name == "cls":
        return TopKAccuracy().compute_metrics([0])
    if task.name == "seg":
        metric = SegmentationMetric()
        metric.dataset_meta = {"classes": ("sky", "tree")}
        values = metric.compute_metrics([(torch.eye(2, dtype=torch.int64), 1)])
    else:
        metric = DetectionMetric()
        metric.dataset_meta = {"classes": ("cat",)}
        box, label = np.array([[0.0, 0, 9, 9]]), np.array([0])
        none = (np.zeros((0, 4)), np.zeros(0, int))
        one = {"found": (box, np.ones(1), label), "counting": (box, label), "difficult": none}
        values = metric.compute_metrics([one])
    return {f"{metric.prefix or metric.default_prefix}/{key}": v for key, v in values.items()}


@pytest.mark.parametrize("entry", TASKS.values(), ids=lambda entry: entry.name)
def test_files_exist(entry):
    assert importlib.util.find_spec(entry.module) is not None
    assert names(ROOT / entry.configs)
    for folder in (*entry.tricks, *filter(None, [entry.recipes])):
        assert names(ROOT / folder), folder
    assert entry.main in entry.metrics
    assert len({metric.name for metric in entry.metrics}) == len(entry.metrics)


@pytest.mark.parametrize("task", TRAINED.values(), ids=lambda task: task.name)
def test_metrics_match_task(task):
    found = task.metrics(_evaluated(task))
    known = {metric.name: metric for metric in task.entry.metrics}
    further = [f"{name}_ms" for name in seg_train.METRICS] if task.name == "seg" else []
    assert [metric.name for metric in found] + further == list(known)
    for metric in found:
        assert (metric.unit, metric.higher_is_better) == (
            known[metric.name].unit,
            known[metric.name].higher_is_better,
        )
        # One image that is found: all of them are perfect.
        assert metric.value == pytest.approx(100)
    assert not any(known[name].required for name in further)


@pytest.mark.parametrize("task", TRAINED.values(), ids=lambda task: task.name)
def test_abilities_match_task(task):
    entry = task.entry
    dense = isinstance(task, DenseTask)
    assert entry.trains
    assert entry.estimates == (task.labelled_features is not None)
    assert (entry.pictures is not None) == dense
    assert entry.holds_out == ("holdout" in names(*task.trick_folders))
    assert (DENSE_TRICKS in entry.tricks) == dense
    assert (entry.recipes is not None) == (task.recipe(parse("x", WORDS, entry)) is not None)
    assert task.configs == ROOT / entry.configs


@pytest.mark.parametrize("entry", TASKS.values(), ids=lambda entry: entry.name)
def test_options_follow_start(entry):
    starts = entry.starts_from is not None
    assert starts == (entry.name in TRANSFERS) == (entry.name != SOURCE)
    for option, known in (("--checkpoint", starts), ("--recipe", entry.recipes is not None)):
        words = [*WORDS, option, "x"]
        if known:
            assert getattr(parse("x", words, entry), option.removeprefix("--")) is not None
        else:
            with pytest.raises(UserError, match=f"unknown option '{option}'"):
                parse("x", words, entry)


@pytest.mark.parametrize("task", TRAINED.values(), ids=lambda task: task.name)
def test_further_costs_match_task(task):
    class Runner:
        class train_dataloader:
            class dataset:
                images_total = 60

    found = {cost.name: cost.unit for cost in task.costs(Runner(), 1.0)}
    assert found == {cost.name: cost.unit for cost in task.entry.further_costs}


def test_probe_metrics():
    spec = importlib.util.find_spec(TASKS["probe"].module)
    folder = spec.submodule_search_locations or [spec.origin.rsplit("/", 1)[0]]
    texts = {
        node.value
        for path in sorted(ROOT.joinpath(folder[0]).glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
    }
    assert {metric.name for metric in TASKS["probe"].metrics} <= texts
    assert not TASKS["probe"].trains
