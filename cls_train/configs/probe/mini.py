"""The former path of `probe/configs/mini.py`, for suites that name it."""

_base_ = "../../../probe/configs/mini.py"
