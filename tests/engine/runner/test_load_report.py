"""The proof that a checkpoint's weights are in the model."""

from types import SimpleNamespace

import pytest
from support.runners import bare_runner

from backbones import CheckpointError, LoadReport
from engine.runner.load_report import LOAD_REPORT, LoadReportHook


class _Model:
    def __init__(self, matches=True):
        self.backbone = self
        self.matches = matches

    def verify(self, checkpoint):
        if not self.matches:
            raise CheckpointError("1 of 2 tensors differ")
        return LoadReport(sha256="ab" + checkpoint, matched=2, total=2)


def test_report_is_saved_with_checkpoints(request):
    said = []
    logger = SimpleNamespace(info=said.append)
    # As under distributed data parallel.
    runner = bare_runner(request.node.name, model=SimpleNamespace(module=_Model()), logger=logger)
    LoadReportHook("f").before_train(runner)
    kept = runner.message_hub.state_dict()["runtime_info"][LOAD_REPORT]
    assert kept == {"sha256": "abf", "matched": 2, "total": 2, "feature_error": None}
    assert said == ["backbone: 2 of 2 tensors equal f"]


def test_missing_weights_stop_run(request):
    runner = bare_runner(request.node.name, model=_Model(matches=False))
    with pytest.raises(CheckpointError, match="differ"):
        LoadReportHook("f").before_train(runner)


def test_resumed_run_is_not_verified(request):
    LoadReportHook("f").before_train(
        bare_runner(request.node.name, model=_Model(matches=False), iter=5)
    )
