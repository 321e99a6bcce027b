"""Imports of the wheels, whose own warnings are not ours to fail on."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import engine  # noqa: F401  (it puts mmcv._ext in place first)

    import mmdet.models
    import mmseg.models  # noqa: F401
