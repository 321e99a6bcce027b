"""L2 in the loss: λ/2 Σ w², over weights of convolutions and linear layers, λ = 1e-4, and no decay in the optimiser.

Its gradient λ w equals weight decay, except that biases, γ and β have none, and that gradient clipping includes it.

Source: not from a paper
Library: ours
Test: tests/cls_train/test_losses.py
"""

penalties = dict(l2=dict(type="WeightPenalty", power=2, weight=1e-4))
weight_decay = 0.0
