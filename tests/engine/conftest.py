"""OpenMMLab packages, imported without their own warnings, and runs kept apart."""

import warnings

from support.classification import image_folder, tiny_config  # noqa: F401

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import engine  # noqa: F401, I001  (it stands in for mmcv's compiled ops, which mmdet wants)
    import mmdet.models  # noqa: F401
    import mmseg.models  # noqa: F401
    from support.runners import isolate_runs  # noqa: F401
