"""A small set in the ImageFolder layout, and runs kept apart."""

import warnings

from support.classification import image_folder, tiny_config  # noqa: F401

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of OpenMMLab's packages at their import
    from support.runners import isolate_runs  # noqa: F401

    import cls_train.train  # noqa: F401
