"""Label smoothing: 1 − ε for the true class and ε / (K − 1) for every other class (§5.2, Eq. 4), ε = 0.1.

`off_target='uniform'` is the convention of torch and GluonCV: ε / K for every class, the true one included.

Source: 1812.01187 §5.2; 1512.00567
Library: ours; torch has the other convention
Test: tests/cls_train/test_losses.py
"""

label_smoothing = dict(epsilon=0.1, off_target="paper")
