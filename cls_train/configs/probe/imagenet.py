"""The former path of `probe/configs/imagenet.py`, for suites that name it."""

_base_ = "../../../probe/configs/imagenet.py"
