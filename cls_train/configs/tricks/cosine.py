"""Cosine decay: η_t = ½ (1 + cos(t π / T)) η over the T batches after the warm-up (§5.1; Loshchilov, 1608.03983).

Source: 1812.01187 §5.1; 1608.03983
Library: mmengine `CosineAnnealingLR`
Test: tests/cls_train/test_schedules.py
"""

schedule = dict(_delete_=True, type="cosine")
