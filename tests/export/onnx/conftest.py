"""Small sets of the three tasks, and the runs whose networks are exported."""

from tests.cls_train.conftest import _forget_runs, image_folder, tiny_config  # noqa: F401
from tests.det.conftest import assemble_det, tiny_voc  # noqa: F401
from tests.seg.conftest import checkpoint, checkpoint_metadata, run_seg, tiny_ade  # noqa: F401
