"""Objectness: a sigmoid output tells whether a RoI shows an object, and multiplies its class scores.

The confidence of YOLO (1506.02640, by logistic regression as in 1804.02767) on a RoI head: binary cross entropy over
the sampled RoIs, 1 for those of an object, 0 for the background. Weight 1, that of the classification loss, is ours.

Source: 1506.02640; 1804.02767
Library: ours, on mmdet's `Shared2FCBBoxHead`
Test: tests/det/test_quality_head.py
"""

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type="QualityBBoxHead",
            loss_objectness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
        )
    )
)
