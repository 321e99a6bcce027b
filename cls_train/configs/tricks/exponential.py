"""Exponential decay: η_e = η · 0.94^e after e epochs, in steps of an epoch.

Inception-V3 uses the rate 0.94 every two epochs (Szegedy et al., 1512.00567, §8).

Source: 1512.00567
Library: mmengine `ExponentialLR`
Test: tests/cls_train/test_schedules.py
"""

schedule = dict(_delete_=True, type="exponential", gamma=0.94)
