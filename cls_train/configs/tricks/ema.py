"""Exponential moving average of the weights with a mean age of one epoch; the average is tested and exported.

w̄ ← w̄ + (w − w̄) / n with n iterations per epoch (Polyak and Juditsky, 1992, in the form of 1602.07261, §4). An age
in epochs fits datasets of any size.

Source: 1602.07261
Library: mmengine `EMAHook`, with our average
Test: tests/cls_train/test_ema.py
"""

ema = dict(type="EpochEMAHook", epochs=1.0)
