"""Exponential moving average of the weights with a mean age of half an epoch; the average is tested.

w̄ ← w̄ + (w − w̄) / n with n iterations in that time (Polyak and Juditsky, 1992; in detection PP-YOLO, 2007.12099,
§3.2), with bias correction. It replaces the dense tasks' common trick, which averages over one epoch, because the
schedule has few epochs: four in `voc0712`, of three passes each.

Source: Polyak and Juditsky, 1992
Library: mmengine `EMAHook`, with our average
Test: tests/engine/runner/test_averaging.py
"""

ema = dict(type="EpochEMAHook", epochs=0.5)
