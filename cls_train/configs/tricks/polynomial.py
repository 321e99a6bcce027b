"""Polynomial decay: η_t = η (1 − t / T)^2 over the T batches after the warm-up (You et al., 1708.03888).

Source: 1708.03888
Library: mmengine `PolyLR`
Test: tests/cls_train/test_schedules.py
"""

schedule = dict(_delete_=True, type="polynomial", power=2.0)
