"""The detection task: Faster R-CNN on a pretrained backbone."""

# Puts the stand-in for mmcv's compiled ops in place before anything here imports OpenMMLab's packages.
import engine as _engine  # noqa: F401
