"""Focal loss for the RPN: −α_t (1 − p_t)^γ ln p_t with γ = 2, α = 0.25 (Lin et al., 1708.02002).

mmdet's `FocalLoss` with the paper's values. mmdet's sampling of anchors (`RandomSampler`, 256 per image, at most half
of them objects) and the average over the sampled anchors are kept, so only the classification loss changes. The
paper's RetinaNet trains on all anchors and divides by the number of object anchors, which here would also scale the
box loss.

Source: 1708.02002
Library: mmdet `FocalLoss`
Test: tests/det/test_focal_loss.py
"""

model = dict(
    rpn_head=dict(
        loss_cls=dict(
            _delete_=True,
            type="FocalLoss",
            use_sigmoid=True,
            gamma=2.0,
            alpha=0.25,
            loss_weight=1.0,
        )
    )
)
