"""Linear scaling of the learning rate: lr = base lr × batch / base batch (§3.1; Goyal et al., 1706.02677).

With the paper's values 0.1 × 1024 / 256 = 0.4.

Source: 1812.01187 §3.1; 1706.02677
Library: none
Test: tests/cls_train/test_assemble.py
"""

lr_scaling = "linear"
