"""DIoU loss: 1 − IoU + ρ² / c² (Zheng et al., 1911.08287).

ρ is the distance between the centres, c the diagonal of the smallest box around both. mmdet's `DIoULoss` has no
Faster R-CNN config; weight 12 is from the authors' config (Zzh-tju/DIoU-pytorch-detectron,
e2e_faster_rcnn_R-50-FPN_diou_1x.yaml). It is computed per object RoI and averaged over all sampled RoIs.

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
