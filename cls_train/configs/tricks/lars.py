"""LARS: each layer's step is scaled by 0.001 ‖w‖ / (‖g‖ + β ‖w‖), β the weight decay (You et al., 1708.03888).

timm's `Lars` does not scale parameters without decay, and scales the gradient including the decay, as in the paper.
The trust coefficient requires a larger rate. We use 3 instead of 0.1 for the base batch, the best of 1, 3, 10 and 30
on the embedded data (one seed; docs/LOG.md).

Source: 1708.03888
Library: timm `Lars`
Test: tests/cls_train/test_optimisers.py
"""

optimizer = dict(_delete_=True, type="Lars", momentum=0.9, nesterov=True, trust_coeff=0.001)
lr = 3.0
