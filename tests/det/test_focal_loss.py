"""The focal loss on a softmax, and that of the region proposal network as the config assembles it."""

import math

import pytest
import torch
from mmdet.models.losses import CrossEntropyLoss
from mmengine.structures import InstanceData

from contract.errors import UserError
from det.focal_loss import FocalCrossEntropyLoss

# Two objects of classes 0 and 1, and background, which is the last.
LOGITS = [[2.0, 0.5, -1.0], [0.3, -0.7, 1.1], [0.0, -2.0, 3.0], [1.0, 1.0, 1.0]]
LABELS = [0, 1, 2, 2]


def _by_hand(gamma, alpha):
    losses = []
    for logits, label in zip(LOGITS, LABELS, strict=True):
        p = math.exp(logits[label]) / sum(map(math.exp, logits))
        weight = 1 if alpha is None else 1 - alpha if label == 2 else alpha
        losses.append(-weight * (1 - p) ** gamma * math.log(p))
    return losses


@pytest.fixture
def case():
    return torch.tensor(LOGITS, requires_grad=True), torch.tensor(LABELS)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, None), (2.0, 0.25), (0.5, 0.75), (0.0, 0.3)])
def test_formula(case, gamma, alpha):
    loss = FocalCrossEntropyLoss(gamma=gamma, alpha=alpha, reduction="none")(*case)
    assert loss.tolist() == pytest.approx(_by_hand(gamma, alpha), rel=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        dict(),
        dict(weight=torch.tensor([1.0, 0.5, 0.0, 2.0])),
        dict(weight=torch.tensor([1.0, 0.5, 0.0, 2.0]), avg_factor=3.0),
        dict(avg_factor=7),
        dict(reduction_override="none"),
        dict(reduction_override="sum"),
        dict(ignore_index=1),
        dict(ignore_index=1, reduction_override="sum"),
    ],
)
@pytest.mark.parametrize("avg_non_ignore", [False, True])
def test_gamma_zero_is_mmdet_cross_entropy(case, settings, avg_non_ignore):
    found, expected = [], []
    for loss, results in (
        (FocalCrossEntropyLoss(gamma=0.0, loss_weight=1.5, avg_non_ignore=avg_non_ignore), found),
        (CrossEntropyLoss(loss_weight=1.5, avg_non_ignore=avg_non_ignore), expected),
    ):
        logits = case[0].detach().clone().requires_grad_()
        value = loss(logits, case[1], **settings)
        value.sum().backward()
        results += [value.detach(), logits.grad]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_ignored_label_costs_nothing(case):
    loss = FocalCrossEntropyLoss(ignore_index=1, reduction="none", avg_non_ignore=True)
    losses = loss(*case)
    expected = [0 if label == 1 else v for label, v in zip(LABELS, _by_hand(2, None), strict=True)]
    assert losses.tolist() == pytest.approx(expected, rel=1e-5)
    losses.sum().backward()
    assert case[0].grad[1].tolist() == [0, 0, 0]
    mean = FocalCrossEntropyLoss(ignore_index=1, avg_non_ignore=True)(*case)
    assert mean.item() == pytest.approx(losses.sum().item() / 3)


def test_gradient(case):
    logits = case[0].detach().double().requires_grad_()
    loss = FocalCrossEntropyLoss(alpha=0.25)
    probability = logits.softmax(1)[torch.arange(4), case[1]]
    weight = torch.tensor([0.25, 0.25, 0.75, 0.75])
    expected = (-weight * (1 - probability) ** 2 * probability.log()).mean()
    (slope,) = torch.autograd.grad(expected, logits)
    loss(case[0], case[1]).backward()
    torch.testing.assert_close(case[0].grad, slope.float(), rtol=1e-4, atol=1e-6)


def test_saturated_logits_and_half_precision():
    logits = torch.tensor([[60.0, -60.0, 0.0], [-60.0, 60.0, 0.0]], dtype=torch.bfloat16)
    logits.requires_grad_()
    loss = FocalCrossEntropyLoss(reduction="none")(logits, torch.tensor([0, 0]))
    assert loss.dtype == torch.float32
    assert loss.tolist() == pytest.approx([0, 120])
    loss.sum().backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("settings", [dict(gamma=-1), dict(alpha=1.5), dict(alpha=-0.1)])
def test_out_of_range_arguments(settings):
    with pytest.raises(UserError, match=r"gamma must be at least 0, and alpha None or in 0 to 1"):
        FocalCrossEntropyLoss(**settings)


def test_focal_head_trick(assemble_det):
    _, model = assemble_det("focal_head")
    loss = model.roi_head.bbox_head.loss_cls
    assert isinstance(loss, FocalCrossEntropyLoss)
    logits, labels = torch.tensor(LOGITS), torch.tensor(LABELS)
    losses = model.roi_head.bbox_head.loss(
        logits,
        torch.zeros(4, 8),
        torch.tensor([[0.0, 0, 0, 10, 10]]).repeat(4, 1),
        labels,
        torch.tensor([1.0, 1, 1, 0]),
        torch.zeros(4, 4),
        torch.zeros(4, 4),
    )
    # The last RoI has no weight and does not count.
    expected = sum(_by_hand(2.0, None)[:3]) / 3
    assert losses["loss_cls"].item() == pytest.approx(expected * loss.loss_weight, rel=1e-5)


def test_focal_rpn_trick_keeps_sampling_and_average(assemble_det):
    config, model = assemble_det("focal_rpn")
    assert config.model.train_cfg.rpn.sampler.type == "RandomSampler"
    head = model.rpn_head
    sizes = [(64 // s, 64 // s) for s in (4, 8, 16, 32, 64)]
    metas = [dict(img_shape=(64, 64), pad_shape=(64, 64))]
    truth = [InstanceData(bboxes=torch.tensor([[6.0, 6, 30, 32]]), labels=torch.tensor([0]))]
    anchors, flags = head.get_anchors(sizes, metas, device="cpu")
    targets = head.get_targets(anchors, flags, truth, metas)
    labels, weights = (torch.cat(part, 1) for part in targets[:2])
    objects = int(((labels == 0) & (weights > 0)).sum())
    rest = int(((labels == 1) & (weights > 0)).sum())
    assert objects > 0 and objects + rest == config.model.train_cfg.rpn.sampler.num == 64

    logit = -1.5
    scores = [torch.full((1, 3, *size), logit) for size in sizes]
    deltas = [torch.zeros(1, 12, *size) for size in sizes]
    losses = head.loss_by_feat(scores, deltas, truth, metas)
    p = 1 / (1 + math.exp(-logit))
    of_object = -0.25 * (1 - p) ** 2 * math.log(p)
    of_rest = -0.75 * p**2 * math.log(1 - p)
    found = sum(losses["loss_rpn_cls"]).item()
    assert found == pytest.approx((objects * of_object + rest * of_rest) / 64, rel=1e-4)
