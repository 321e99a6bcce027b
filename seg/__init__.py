"""The segmentation task: FCN on a pretrained backbone."""

# Installs the substitute for mmcv's compiled ops before OpenMMLab's packages are imported.
import engine as _engine  # noqa: F401
