"""The head's losses and scores against hand computations, as the tricks assemble it."""

import math

import pytest
import torch
from mmengine.config import ConfigDict

from contract.errors import UserError
from det.quality_head import QualityBBoxHead

# Outputs for deltas are multiplied by these (x, y, w, h) in mmdet's coder.
STDS = (0.1, 0.1, 0.2, 0.2)
ROI = (0.0, 0.0, 10.0, 10.0)
TEST = ConfigDict(score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5), max_per_img=50)
META = dict(img_shape=(100, 100), scale_factor=(1.0, 1.0))


@pytest.fixture
def head(assemble_det):
    """The RoI head of the mini detector, for two classes, with tricks."""

    def build(*tricks, **overrides):
        prefix = "model.roi_head.bbox_head."
        _, model = assemble_det(*tricks, **{prefix + k: v for k, v in overrides.items()})
        return model.roi_head.bbox_head

    return build


def _iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return shared / (areas - shared)


def _giou(a, b):
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    iou = _iou(a, b)
    areas = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    union = areas / (1 + iou)
    return iou - (hull - union) / hull


def _diou(a, b):
    centres = sum(((a[i] + a[i + 2]) / 2 - (b[i] + b[i + 2]) / 2) ** 2 for i in (0, 1))
    diagonal = sum((max(a[i + 2], b[i + 2]) - min(a[i], b[i])) ** 2 for i in (0, 1))
    return _iou(a, b) - centres / diagonal


def _ciou(a, b):
    angles = [math.atan((c[2] - c[0]) / (c[3] - c[1])) for c in (a, b)]
    v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    alpha = v / (1 - _iou(a, b) + v) if _iou(a, b) > 0.5 else 0
    return _diou(a, b) - alpha * v


LOSSES = {
    "iou": (10, lambda a, b: -math.log(max(_iou(a, b), 1e-6))),
    "giou": (10, lambda a, b: 1 - _giou(a, b)),
    "diou": (12, lambda a, b: 1 - _diou(a, b)),
    "ciou": (12, lambda a, b: 1 - _ciou(a, b)),
}
TRUTHS = [
    (5.0, 0.0, 15.0, 10.0),  # IoU 1/3, GIoU 1/3
    (20.0, 0.0, 30.0, 10.0),  # apart: GIoU −1/3
    (0.0, 0.0, 10.0, 15.0),  # IoU 2/3, of another shape
]


def _loss(head, labels, targets, deltas=None, logits=None, dtype=torch.float32, rois=None):
    """The losses of RoIs that all lie at `ROI`; labels other than 0 and 1 are background."""
    count = len(labels)
    further = len(head.quality_losses)
    agnostic = head.reg_class_agnostic
    if logits is None:
        logits = torch.zeros(count, 3 + further, dtype=dtype)
    if deltas is None:
        deltas = torch.zeros(count, 4 if agnostic else 8, dtype=dtype)
    return head.loss(
        logits,
        deltas,
        torch.tensor(rois or [(0.0, *ROI)] * count),
        torch.tensor(labels),
        torch.ones(count),
        torch.tensor(targets),
        torch.ones(count, 4),
    )


def test_oracle_gious_by_hand():
    assert [_giou(ROI, t) for t in TRUTHS[:2]] == pytest.approx([1 / 3, -1 / 3])
    assert [_iou(ROI, t) for t in TRUTHS] == pytest.approx([1 / 3, 0, 2 / 3])


@pytest.mark.parametrize("trick", LOSSES)
@pytest.mark.parametrize("truth", range(3))
def test_box_losses_of_one_roi(head, trick, truth):
    weight, formula = LOSSES[trick]
    # Averaged over the RoIs of the background, too.
    losses = _loss(head(trick), [1, 2], [TRUTHS[truth], ROI])
    expected = weight * formula(ROI, TRUTHS[truth]) / 2
    assert losses["loss_bbox"].item() == pytest.approx(expected, rel=1e-4)


def test_box_loss_uses_true_class(head):
    # 5 pixels of a width of 10, for class 1 only.
    deltas = torch.zeros(2, 8)
    deltas[:, 4] = 0.5 / STDS[0]
    losses = _loss(head("giou"), [1, 0], [TRUTHS[0]] * 2, deltas)
    assert losses["loss_bbox"].item() == pytest.approx(10 * (0 + 2 / 3) / 2, rel=1e-4)


@pytest.mark.parametrize("trick", LOSSES)
def test_bfloat16_loses_only_its_rounding(head, trick):
    weight, formula = LOSSES[trick]
    deltas = torch.zeros(1, 8, dtype=torch.bfloat16)
    # exp(0.002) rounds to 1 in bfloat16.
    deltas[0, 2] = 0.01
    width = 400.0 * math.exp(deltas[0, 2].item() * STDS[2])
    box = (200 - width / 2, 0.0, 200 + width / 2, 400.0)
    truth = (0.0, 0.0, 300.0, 400.0)
    roi = [(0.0, 0.0, 0.0, 400.0, 400.0)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = _loss(head(trick), [0], [truth], deltas, dtype=torch.bfloat16, rois=roi)
    assert {v.dtype for k, v in losses.items() if k.startswith("loss")} == {torch.float32}
    assert losses["loss_bbox"].item() == pytest.approx(weight * formula(box, truth), rel=1e-4)


def _bce(logit, target):
    p = 1 / (1 + math.exp(-logit))
    return -target * math.log(p) - (1 - target) * math.log(1 - p)


@pytest.mark.parametrize("tricks", [("iou_aware",), ("iou_aware", "giou")])
@pytest.mark.parametrize("agnostic", [False, True])
def test_learned_iou_is_of_decoded_box(head, tricks, agnostic):
    built = head(*tricks, reg_class_agnostic=agnostic)
    shift = 0.5 / STDS[0]
    deltas = torch.zeros(4, 4 if agnostic else 8)
    # Five pixels to the right for class 1; without classes, for RoIs 1 and 2.
    deltas[:, 0 if agnostic else 4] = shift
    if agnostic:
        deltas[0, 0] = 0
    deltas.requires_grad_()
    labels = [0, 1, 1, 2]
    boxes = [ROI, TRUTHS[0], TRUTHS[0]]
    truths = [TRUTHS[0], TRUTHS[0], TRUTHS[2]]
    if "giou" in tricks:
        targets = [*truths, ROI]
    else:
        # As mmdet encodes: centre over the RoI's size, logarithm of the ratio of sizes.
        height = math.log(1.5) / STDS[3]
        targets = [(shift, 0.0, 0.0, 0.0)] * 2 + [(0.0, 0.25 / STDS[1], 0.0, height)] + [(0.0,) * 4]
    logits = torch.tensor([[0.0, 0, 0, z] for z in (0.3, -0.8, 1.2, 5.0)], requires_grad=True)
    losses = _loss(built, labels, targets, deltas, logits)
    overlaps = [_iou(box, truth) for box, truth in zip(boxes, truths, strict=True)]
    assert overlaps == pytest.approx([1 / 3, 1, 50 / 200])
    # The mean over the three objects; the background has no part.
    expected = sum(_bce(z, t) for z, t in zip((0.3, -0.8, 1.2), overlaps, strict=True)) / 3
    assert losses["loss_iou"].item() == pytest.approx(expected, rel=1e-4)
    slopes = torch.autograd.grad(losses["loss_iou"], [logits, deltas], allow_unused=True)
    assert slopes[1] is None
    assert slopes[0][3].tolist() == [0] * 4
    assert (slopes[0][:, :3] == 0).all() and (slopes[0][:3, 3] != 0).all()


def test_objectness_trains_on_all_rois(head):
    built = head("objectness")
    logits = torch.tensor([[0.0, 0, 0, z] for z in (0.3, -0.8, 1.2)])
    losses = _loss(built, [0, 1, 2], [(0.0,) * 4] * 3, logits=logits)
    expected = (_bce(0.3, 1) + _bce(-0.8, 1) + _bce(1.2, 0)) / 3
    assert losses["loss_objectness"].item() == pytest.approx(expected, rel=1e-5)
    assert "loss_iou" not in losses


def test_extra_outputs_keep_stock_losses(head):
    plain, rated = head(), head("iou_aware", "objectness")
    assert type(plain).__name__ == "Shared2FCBBoxHead" and isinstance(rated, QualityBBoxHead)
    plain.quality_losses = {}
    targets = [(0.5, -0.5, 0.2, 0.1)] * 3
    logits = torch.randn(3, 3)
    deltas = torch.randn(3, 8)
    stock = _loss(plain, [0, 1, 2], targets, deltas, logits)
    more = torch.cat([logits, torch.randn(3, 2)], 1)
    found = _loss(rated, [0, 1, 2], targets, deltas, more)
    assert found.keys() - stock.keys() == {"loss_iou", "loss_objectness"}
    for name, value in stock.items():
        torch.testing.assert_close(found[name], value)


def test_batch_without_objects(head):
    built = head("iou_aware", "objectness", "ciou")
    logits = torch.zeros(2, 5, requires_grad=True)
    losses = _loss(built, [2, 2], [ROI, ROI], logits=logits)
    assert losses["loss_iou"].item() == 0
    assert losses["loss_objectness"].item() == pytest.approx(math.log(2))
    sum(v for k, v in losses.items() if k.startswith("loss")).backward()
    assert torch.isfinite(logits.grad).all()


def test_width_from_config(head):
    built = head("iou_aware", "objectness", fc_out_channels=48, num_classes=2)
    assert (built.fc_cls.in_features, built.fc_cls.out_features) == (48, 3 + 2)
    built.init_weights()
    assert built.fc_cls.weight.std().item() == pytest.approx(0.01, rel=0.3)
    assert built.fc_cls.bias.abs().max().item() == 0
    x = torch.zeros(3, built.in_channels, 7, 7)
    scores, deltas = built(x)
    assert (tuple(scores.shape), tuple(deltas.shape)) == ((3, 5), (3, 8))


def _detect(head, logits, boxes):
    """Detections of RoIs that stay where they are, by falling score: `(score, label, box)`."""
    rois = torch.tensor([(0.0, *box) for box in boxes])
    (found,) = head.predict_by_feat(
        (rois,),
        (torch.tensor(logits),),
        (torch.zeros(len(boxes), 4 if head.reg_class_agnostic else 8),),
        [META],
        TEST,
    )
    return list(
        zip(found.scores.tolist(), found.labels.tolist(), found.bboxes.tolist(), strict=True)
    )


def _sigmoid(z):
    return 1 / (1 + math.exp(-z))


def _softmax(logits):
    total = sum(map(math.exp, logits))
    return [math.exp(z) / total for z in logits]


APART = [(0.0, 0.0, 10.0, 10.0), (30.0, 0.0, 40.0, 10.0), (60.0, 0.0, 70.0, 20.0)]
CLASSES = [[2.0, 0.0, 1.0], [0.5, 2.5, 0.0], [-1.0, 0.2, 4.0]]
OBJECTNESS, IOU = [-1.0, 2.0, 0.5], [3.0, -2.0, 0.1]


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize(
    ("tricks", "rate"),
    [
        ((), lambda s, o, u: s),
        (("giou",), lambda s, o, u: s),
        (("objectness",), lambda s, o, u: s * o),
        (("iou_aware",), lambda s, o, u: s**0.6 * u**0.4),
        (("objectness", "iou_aware"), lambda s, o, u: (s * o) ** 0.6 * u**0.4),
        (("iou_aware", "objectness", "diou"), lambda s, o, u: (s * o) ** 0.6 * u**0.4),
    ],
)
def test_scores_at_test(head, tricks, rate, agnostic):
    built = head(*tricks, reg_class_agnostic=agnostic)
    logits = []
    for number, classes in enumerate(CLASSES):
        further = [IOU[number]] if "iou_aware" in tricks else []
        further += [OBJECTNESS[number]] if "objectness" in tricks else []
        logits.append([*classes, *further])
    expected = []
    for number, classes in enumerate(CLASSES):
        o, u = _sigmoid(OBJECTNESS[number]), _sigmoid(IOU[number])
        for label, s in enumerate(_softmax(classes)[:2]):
            # The threshold looks at the class score: the candidates are those of the stock head.
            if s > TEST.score_thr:
                expected.append((rate(s, o, u), label, list(APART[number])))
    expected.sort(reverse=True)
    found = _detect(built, logits, APART)
    assert [label for _, label, _ in found] == [label for _, label, _ in expected]
    assert [box for *_, box in found] == [box for *_, box in expected]
    assert [s for s, *_ in found] == pytest.approx([s for s, *_ in expected], rel=1e-5)


def test_nms_keeps_better_placed_box(head):
    boxes = [(0.0, 0.0, 10.0, 10.0), (1.0, 0.0, 11.0, 10.0)]
    logits = [[2.0, -9.0, 0.0, -3.0], [1.8, -9.0, 0.0, 3.0]]
    ((_, label, box),) = _detect(head("iou_aware"), logits, boxes)
    assert (label, box) == (0, list(boxes[1]))
    ((_, label, box),) = _detect(head(), [row[:3] for row in logits], boxes)
    assert (label, box) == (0, list(boxes[0]))


@pytest.mark.parametrize(("alpha", "expected"), [(0.0, 0), (1.0, 1)])
def test_alpha_at_its_ends(head, alpha, expected):
    s, u = _softmax(CLASSES[0])[0], _sigmoid(1.3)
    found = _detect(head("iou_aware", iou_alpha=alpha), [[*CLASSES[0], 1.3]], APART[:1])
    assert found[0][0] == pytest.approx((s, u)[expected], rel=1e-5)


def test_alpha_out_of_range(head):
    with pytest.raises(UserError, match=r"iou_alpha=1.4; it must lie in 0 to 1"):
        head("iou_aware", iou_alpha=1.4)


def test_loss_with_own_outputs_is_refused():
    with pytest.raises(UserError, match=r"loss_cls of type SeesawLoss.*use a softmax loss"):
        QualityBBoxHead(loss_cls=dict(type="SeesawLoss", num_classes=2), num_classes=2)


def test_no_rois_no_detections(head):
    built = head("iou_aware", "objectness")
    (found,) = built.predict_by_feat(
        (torch.zeros(0, 5),), (torch.zeros(0, 5),), (torch.zeros(0, 8),), [META], TEST
    )
    assert len(found.scores) == len(found.labels) == 0


def test_rated_boxes_without_test_config(head):
    built = head("objectness")
    rois = torch.tensor([(0.0, *box) for box in APART])
    logits = torch.tensor([[*c, o] for c, o in zip(CLASSES, OBJECTNESS, strict=True)])
    (found,) = built.predict_by_feat((rois,), (logits,), (torch.zeros(3, 8),), [META], None)
    expected = logits[:, :3].softmax(1) * torch.tensor(OBJECTNESS).sigmoid()[:, None]
    torch.testing.assert_close(found.scores, expected)
    assert tuple(found.bboxes.shape) == (3, 8)
