"""Small sets of the three tasks, and the runs whose networks are exported."""

import warnings

from support.classification import image_folder, tiny_config  # noqa: F401
from support.dense_fixtures import (  # noqa: F401
    assemble_det,
    checkpoint,
    checkpoint_metadata,
    run_seg,
    tiny_ade,
    tiny_voc,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of OpenMMLab's packages at their import
    from support.runners import isolate_runs  # noqa: F401

    import cls_train.train  # noqa: F401
