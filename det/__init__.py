"""The detection stage: Faster R-CNN on Pascal VOC with a handed-off backbone."""

# Puts the stand-in for mmcv's compiled ops in place before anything here imports OpenMMLab's packages.
import engine as _engine  # noqa: F401
