"""What the stages share of OpenMMLab.

Importing this package puts the stand-in for mmcv's compiled ops in place, so that `mmcv.ops`, mmdet and
mmseg import afterwards whether or not a compiled mmcv is installed.
"""

from engine.compiled_ops import install as _install_compiled_ops

_install_compiled_ops()
