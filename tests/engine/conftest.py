"""The wheels, whose own warnings at import are not ours to fail on, and runs kept apart."""

import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import engine  # noqa: F401, I001  (it stands in for mmcv's compiled ops, which mmdet wants)
    import mmdet.models
    import mmseg.models  # noqa: F401
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.visualization import Visualizer


@pytest.fixture(autouse=True)
def _forget_runs():
    """Forget mmengine's runs, which it names by the second, so that two of one second mix."""
    yield
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    for manager in (MMLogger, MessageHub, Visualizer):
        manager._instance_dict.clear()
