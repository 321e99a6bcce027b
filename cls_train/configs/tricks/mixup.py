"""Mixup: x̂ = λ x_i + (1 − λ) x_j, ŷ likewise, λ ~ Beta(α, α) with α = 0.2, drawn once per batch (§5.4; 1710.09412).

Only mixed examples are used, and training has 200 epochs instead of 120.

Source: 1812.01187 §5.4; 1710.09412
Library: ours
Test: tests/cls_train/test_mixing.py
"""

batch_mixing = dict(mixup=dict(type="Mixup", alpha=0.2))
epochs_factor = 200 / 120
