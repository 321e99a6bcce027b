"""IoU-aware scores: the RoI head predicts the IoU of its box with the object, and the score is s^(1−α) · IoU^α.

Wu et al., 1912.05992; in PP-YOLO (2007.12099) with α = 0.4 and loss weight 1, the values of its released ppyolo_2x.
In PP-YOLO, α weighs the objectness against the IoU; here, as in the first paper, it weighs the whole score. The loss
is the binary cross entropy against the IoU of the decoded box, averaged over object RoIs.

Source: 1912.05992; 2007.12099
Library: ours, on mmdet's `Shared2FCBBoxHead`
Test: tests/det/test_quality_head.py
"""

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type="QualityBBoxHead",
            iou_alpha=0.4,
            loss_iou=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
        )
    )
)
