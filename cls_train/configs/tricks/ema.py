"""Exponential moving average of the weights, of mean age one epoch; what is tested and exported is the average.

w̄ ← w̄ + (w − w̄) / n with n iterations an epoch (Polyak and Juditsky, 1992, in the form of 1602.07261, §4). Stating
the age in epochs lets one value fit any size of data.

Source: 1602.07261
Library: mmengine `EMAHook`, with an average of ours
Test: tests/cls_train/test_ema.py
"""

ema = dict(type="EpochEMAHook", epochs=1.0)
