"""OpenMMLab packages, imported without their own warnings."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import engine  # noqa: F401, I001  (it stands in for mmcv's compiled ops, which mmdet wants)
    import mmdet.models  # noqa: F401
    import mmseg.models  # noqa: F401
