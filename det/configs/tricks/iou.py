"""IoU loss: −ln IoU of the decoded box with its ground truth, instead of L1 on the deltas (Yu et al., 1608.01471).

mmdet's `IoULoss` in its logarithmic mode; weight 10 as in its faster-rcnn_r50_fpn_iou_1x_coco. It is computed per
object RoI and averaged over all sampled RoIs.

Source: 1608.01471
Library: mmdet `IoULoss`
Test: tests/det/test_tricks.py
"""

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type="QualityBBoxHead",
            reg_decoded_bbox=True,
            loss_bbox=dict(_delete_=True, type="IoULoss", mode="log", loss_weight=10.0),
        )
    )
)
