"""DIoU loss: 1 − IoU + ρ² / c² (Zheng et al., 1911.08287).

ρ is the distance of the centres, c the diagonal of the smallest box around both. mmdet's `DIoULoss`, for which it has
no Faster R-CNN config; weight 12 as in the authors' own (Zzh-tju/DIoU-pytorch-detectron,
e2e_faster_rcnn_R-50-FPN_diou_1x.yaml). Per RoI of an object, averaged over all sampled RoIs.

Source: 1911.08287
Library: mmdet `DIoULoss`
Test: tests/det/test_tricks.py
"""

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type="QualityBBoxHead",
            reg_decoded_bbox=True,
            loss_bbox=dict(_delete_=True, type="DIoULoss", loss_weight=12.0),
        )
    )
)
