"""A drop every n epochs: 4% every 8 of 120 epochs (GoogLeNet: 4% every 8 epochs; Szegedy et al., 1409.4842, §6).

`every` is a fraction of the epochs, so a shorter run has the same number of drops.

Source: 1409.4842
Library: mmengine `MultiStepLR`
Test: tests/cls_train/test_schedules.py
"""

schedule = dict(_delete_=True, type="step_every", every=8 / 120, gamma=0.96)
