"""Four times the batch: 1024 images instead of 256 (§3.1, Table 3).

Source: 1812.01187 §3.1
Library: none
Test: tests/cls_train/test_assemble.py
"""

batch_size_factor = 4
