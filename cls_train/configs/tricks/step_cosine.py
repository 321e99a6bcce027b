"""Step, then cosine: step decay in the first half, then cosine decay to 0 from the remaining rate.

The rate drops by 10 after a quarter, as in the baseline; in the second half, η_t = ½ (1 + cos((t − T/2) π / (T/2)))
η_{T/2} (the curve of §5.1).

Source: not from a paper
Library: mmengine `MultiStepLR`, `CosineAnnealingLR`
Test: tests/cls_train/test_schedules.py
"""

schedule = dict(_delete_=True, type="step_cosine", milestones=[0.25], gamma=0.1, switch=0.5)
