"""Focal loss of the proposal network: −α_t (1 − p_t)^γ ln p_t with γ = 2, α = 0.25 (Lin et al., 1708.02002).

mmdet's `FocalLoss` with the paper's values. Kept are mmdet's sampling of anchors (`RandomSampler`, 256 an image, at
most half of objects) and the average over those sampled, so that only the classification loss changes. The paper's
RetinaNet learns from all anchors and divides by those of objects, which in this head would also multiply the box loss.

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
