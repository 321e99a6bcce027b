"""Code on OpenMMLab that all tasks share.

Importing this package installs a substitute for mmcv's compiled ops. After that, `mmcv.ops`, mmdet and mmseg can be
imported with or without a compiled mmcv.
"""

from engine.mmcv_ops import install as _install_mmcv_ops

_install_mmcv_ops()
