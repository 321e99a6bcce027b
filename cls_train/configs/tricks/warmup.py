"""Warm-up: in batch i of the first m, the learning rate is i · η / m (§3.1); m is the batches of `warmup_epochs`.

Source: 1812.01187 §3.1
Library: mmengine `LinearLR`
Test: tests/cls_train/test_schedules.py
"""

warmup = True
