"""Objectness: a sigmoid output predicts whether a RoI contains an object, and multiplies its class scores.

YOLO's confidence (1506.02640, by logistic regression as in 1804.02767) in a RoI head: binary cross entropy over the
sampled RoIs, with target 1 for objects and 0 for the background. Weight 1, the same as for the classification loss,
is our choice.

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
