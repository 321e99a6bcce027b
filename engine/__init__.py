"""What the tasks share of OpenMMLab.

Importing this package puts the stand-in for mmcv's compiled ops in place, so that `mmcv.ops`, mmdet and
mmseg import afterwards whether or not a compiled mmcv is installed.
"""

from engine.mmcv_ops import install as _install_mmcv_ops

_install_mmcv_ops()
