"""L1: λ Σ|w| is added to the loss, over the weights of convolutions and linear layers, λ = 1e-5 (ours).

Source: not from a paper
Library: ours
Test: tests/cls_train/test_losses.py
"""

penalties = dict(l1=dict(type="WeightPenalty", power=1, weight=1e-5))
