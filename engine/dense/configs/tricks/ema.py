"""Exponential moving average of the weights with a mean age of one epoch; the average is tested.

w̄ ← w̄ + (w − w̄) / n with n iterations per epoch (Polyak and Juditsky, 1992), with bias correction.

Source: Polyak and Juditsky, 1992
Library: mmengine `EMAHook`, with our average
Test: tests/engine/runner/test_averaging.py
"""

ema = dict(type="EpochEMAHook", epochs=1.0)
