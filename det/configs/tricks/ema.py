"""Exponential moving average of the weights, of mean age half an epoch; what is tested is the average.

w̄ ← w̄ + (w − w̄) / n with n iterations in that time (Polyak and Juditsky, 1992; in detection PP-YOLO, 2007.12099, §3.2),
corrected for its start. It takes the place of the dense tasks' common trick, which averages over one epoch: the
schedule has few epochs, four in `voc0712`, of three passes each.

Source: Polyak and Juditsky, 1992
Library: mmengine `EMAHook`, with an average of ours
Test: tests/engine/runner/test_averaging.py
"""

ema = dict(type="EpochEMAHook", epochs=0.5)
