"""The FCN head that computes nothing but its loss."""

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.structures import SegDataSample

from seg.heads import LossOnlyFCNHead

OPTIONS = dict(in_channels=4, channels=4, num_classes=5, num_convs=1, norm_cfg=dict(type="BN"))


def _loss(kind, losses):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmseg"):
        head = kind(**OPTIONS, loss_decode=losses)
    features = torch.randn(2, 4, 6, 6, requires_grad=True)
    labels = torch.randint(0, 5, (2, 1, 24, 24))
    labels[:, :, :3] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    terms = head.loss_by_feat(head([features]), samples)
    sum(value for name, value in terms.items() if "loss" in name).backward()
    return terms, features.grad


@pytest.mark.parametrize(
    "losses",
    [
        dict(type="CrossEntropyLoss", loss_weight=0.4),
        [
            dict(type="CrossEntropyLoss", loss_name="loss_ce"),
            dict(type="CrossEntropyLoss", loss_name="loss_ce", loss_weight=0.5),
        ],
    ],
)
def test_loss_and_gradient_equal_the_stock_head(losses, monkeypatch):
    stock, stock_gradient = _loss(FCNHead, losses)
    # The accuracy of the stock head.
    monkeypatch.setattr(torch.Tensor, "topk", lambda *_, **__: pytest.fail("scores were sorted"))
    found, gradient = _loss(LossOnlyFCNHead, losses)
    assert set(stock) - set(found) == {"acc_seg"}
    assert all(torch.equal(found[name], stock[name]) for name in found)
    assert torch.equal(gradient, stock_gradient)


def test_large_logits_are_not_copied_for_the_softmax(monkeypatch):
    seen = []

    def loss(logits, *_args, **_kwargs):
        seen.append(logits)
        return logits.sum()

    with DefaultScope.overwrite_default_scope("mmseg"):
        head = LossOnlyFCNHead(**OPTIONS, loss_decode=dict(type="CrossEntropyLoss"))
    monkeypatch.setattr(head.loss_decode, "forward", loss)
    logits = torch.randn(2, 5, 6, 6).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 5, (1, 24, 24))
    head.loss_by_feat(logits, [SegDataSample(gt_sem_seg=PixelData(data=labels))] * 2)
    assert seen[0].is_contiguous()
