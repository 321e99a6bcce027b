"""No bias decay: weight decay on the weights of convolutions and linear layers only (§3.1; Jia et al., 1807.11205).

Biases and batch norm's γ and β are recognised as one-dimensional parameters.

Source: 1812.01187 §3.1; 1807.11205
Library: mmengine `flat_decay_mult`
Test: tests/cls_train/test_assemble.py
"""

decay_one_dimensional = False
