"""Focal loss for the RoI head's classes: −(1 − p_t)^γ ln p_t with γ = 2, p_t by softmax (Lin et al., 1708.02002).

The paper uses one sigmoid per class; this head is trained and tested with a softmax over the classes and the
background. Sampling (a quarter of the RoIs are objects) and averaging over the sampled RoIs are kept. Therefore α,
with which the paper balances a thousand background boxes per object, is left out; `loss_cls.alpha` sets it.

Source: 1708.02002
Library: ours, on mmdet's `CrossEntropyLoss`
Test: tests/det/test_focal_loss.py
"""

model = dict(
    roi_head=dict(
        bbox_head=dict(
            loss_cls=dict(
                _delete_=True,
                type="FocalCrossEntropyLoss",
                gamma=2.0,
                alpha=None,
                loss_weight=1.0,
            )
        )
    )
)
