"""L2 in the loss: λ/2 Σ w², over weights of convolutions and linear layers, λ = 1e-4, and no decay in the optimiser.

Its gradient is the optimiser's decay, λ w. What differs: biases, γ and β are spared, and gradient clipping sees it.

Source: no paper's
Library: ours
Test: tests/cls_train/test_losses.py
"""

penalties = dict(l2=dict(type="WeightPenalty", power=2, weight=1e-4))
weight_decay = 0.0
