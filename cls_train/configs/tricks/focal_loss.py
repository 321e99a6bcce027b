"""Focal loss: −(1 − p_t)^γ log p_t with γ = 2, p_t the softmax probability of the true class (1708.02002).

The paper's loss is a sum over sigmoids with class weights α; here classes are mutually exclusive and none is rare.

Source: 1708.02002
Library: ours
Test: tests/cls_train/test_losses.py
"""

loss = dict(_delete_=True, type="SoftmaxFocalLoss", gamma=2.0)
