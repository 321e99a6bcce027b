"""GIoU loss: 1 − IoU + (|C| − |A ∪ B|) / |C| with the smallest box C around both (Rezatofighi et al., 1902.09630).

mmdet's `GIoULoss`; weight 10 as in its faster-rcnn_r50_fpn_giou_1x_coco. It is computed per object RoI and averaged
over all sampled RoIs.

Source: 1902.09630
Library: mmdet `GIoULoss`
Test: tests/det/test_tricks.py
"""

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type="QualityBBoxHead",
            reg_decoded_bbox=True,
            loss_bbox=dict(_delete_=True, type="GIoULoss", loss_weight=10.0),
        )
    )
)
