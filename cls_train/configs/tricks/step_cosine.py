"""Step, then cosine: the steps of the first half, then cosine decay to 0 from the rate that is left.

One drop by 10 after a quarter, as in the baseline, then from the middle on
η_t = ½ (1 + cos((t − T/2) π / (T/2))) η_{T/2} (the curve of §5.1, over the second half).

Source: no paper's
Library: mmengine `MultiStepLR`, `CosineAnnealingLR`
Test: tests/cls_train/test_schedules.py
"""

schedule = dict(_delete_=True, type="step_cosine", milestones=[0.25], gamma=0.1, switch=0.5)
