"""CIoU loss: DIoU's 1 − IoU + ρ² / c² plus α v for the aspect ratio (Zheng et al., 1911.08287, 2005.03572).

v = (4 / π²) (arctan w_t/h_t − arctan w/h)², and α = v / (1 − IoU + v) if IoU > 0.5, else 0, without gradient. mmdet's
`CIoULoss`; weight 12 as in its faster-rcnn_r50_fpn_ciou_1x_coco. It is computed per object RoI and averaged over all
sampled RoIs.

Source: 1911.08287; 2005.03572
Library: mmdet `CIoULoss`
Test: tests/det/test_tricks.py
"""

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type="QualityBBoxHead",
            reg_decoded_bbox=True,
            loss_bbox=dict(_delete_=True, type="CIoULoss", loss_weight=12.0),
        )
    )
)
