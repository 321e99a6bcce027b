"""Tiny sets in the Pascal VOC layout, and pretrained checkpoints."""

import det  # noqa: F401, I001  (before mmdet: it puts mmcv's ops in place)
from support.dense_fixtures import (  # noqa: F401
    assemble_det,
    checkpoint,
    checkpoint_metadata,
    run_det,
    tiny_voc,
)
