"""Exponential moving average of the weights, of mean age one epoch; what is tested is the average.

w̄ ← w̄ + (w − w̄) / n with n iterations an epoch (Polyak and Juditsky, 1992), corrected for its start.

Source: Polyak and Juditsky, 1992
Library: mmengine `EMAHook`, with an average of ours
Test: tests/engine/runner/test_averaging.py
"""

ema = dict(type="EpochEMAHook", epochs=1.0)
