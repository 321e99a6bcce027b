"""Focal loss of the RoI head's classes: −(1 − p_t)^γ ln p_t with γ = 2, p_t by softmax (Lin et al., 1708.02002).

The paper's loss is one sigmoid a class; this head is trained and tested with a softmax over the classes and the
background. Sampling (a quarter of objects) and averaging over the sampled RoIs are kept, and so α, the paper's
remedy for a thousand background boxes to an object, is left out; `loss_cls.alpha` sets it.

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
