"""The wheels, whose own warnings at import are not ours to fail on, and runs kept apart."""

import gc
import multiprocessing
import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import engine  # noqa: F401, I001  (it stands in for mmcv's compiled ops, which mmdet wants)
    import mmdet.models  # noqa: F401
    import mmseg.models  # noqa: F401
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.visualization import Visualizer

    from tests.cls_train.conftest import image_folder  # noqa: F401


@pytest.fixture(autouse=True)
def _forget_runs():
    """Forget mmengine's runs, which it names by the second, so that two of one second mix."""
    yield
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    for manager in (MMLogger, MessageHub, Visualizer):
        manager._instance_dict.clear()
    if multiprocessing.active_children():
        # Loader workers of a run that failed: torch would wait five seconds for each of them,
        # in whichever test the garbage is collected.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.2)
            gc.collect()
