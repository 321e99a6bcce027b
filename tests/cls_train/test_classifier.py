"""The classifier's modes, ranks and accuracy."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from cls_train.classifier import ImageClassifier, rank_of_truth
from cls_train.metric import TopKAccuracy

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("logits", "label", "rank"),
    [
        ([1.0, 3.0, 2.0], 1, 0),
        ([1.0, 3.0, 2.0], 0, 2),
        # The lower index wins a tie.
        ([2.0, 2.0, 2.0], 0, 0),
        ([2.0, 2.0, 2.0], 2, 2),
        ([5.0, 2.0, 2.0, 1.0], 2, 2),
        # NaN is worst at every index.
        ([NAN, 0.0, 1.0], 0, 2),
        ([NAN, 0.0, 1.0], 2, 0),
        ([NAN, NAN, NAN], 0, 2),
        ([NAN, NAN, NAN], 2, 2),
        ([NAN, -INF, 0.0], 0, 2),
        ([NAN, -INF, 0.0], 1, 1),
        ([INF, 3e38, 0.0], 0, 0),
        ([INF, 3e38, 0.0], 1, 1),
    ],
)
def test_rank_of_the_truth(logits, label, rank):
    given = torch.tensor([logits]), torch.tensor([label])
    assert rank_of_truth(*given).tolist() == [rank]


def test_ranks_match_sorting():
    torch.manual_seed(0)
    logits, labels = torch.randn(50, 12), torch.randint(12, (50,))
    expected = [
        sorted(range(12), key=lambda k, row=row: -row[k]).index(label)
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]
    assert rank_of_truth(logits, labels).tolist() == expected
    # 1000 classes are more than bfloat16 can count.
    coarse = torch.zeros(1, 1000, dtype=torch.bfloat16)
    assert rank_of_truth(coarse, torch.tensor([997])).tolist() == [997]


def test_accuracy_counts_ranks():
    metric = TopKAccuracy()
    metric.process({}, [0, 1, 4])
    metric.process({}, [5, 0])
    values = metric.evaluate(5)
    assert values == {"top1": pytest.approx(40.0), "top5": pytest.approx(80.0)}


def test_top5_with_fewer_classes():
    metric = TopKAccuracy()
    metric.process({}, [2, 1, 0])
    assert metric.evaluate(3) == {"top1": pytest.approx(100 / 3), "top5": 100.0}


def _classifier(**options):
    torch.manual_seed(0)
    return ImageClassifier(
        backbone=dict(type="TransferBackbone", spec="resnet10_b-w8"),
        num_classes=4,
        **{"targets": dict(type="SmoothedTargets"), "loss": dict(type="CrossEntropy"), **options},
    )


def test_logits_are_head_of_pooled_features():
    model = _classifier().eval()
    images = torch.randn(2, 3, 64, 64)
    feature = model.backbone.net(images)[-1]
    pooled = feature.sum(dim=(2, 3)) / (feature.shape[2] * feature.shape[3])
    expected = pooled @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(images), expected)


def test_loss_uses_smoothed_and_mixed_targets(monkeypatch):
    targets = dict(type="SmoothedTargets", epsilon=0.2)
    model = _classifier(targets=targets, mixing=[dict(type="Mixup", alpha=1.0)]).eval()
    monkeypatch.setattr(model.mixing[0].beta, "sample", lambda: torch.tensor(0.25))
    monkeypatch.setattr(torch, "randperm", lambda count, **_: torch.tensor([1, 0]))
    images, labels = torch.randn(2, 3, 32, 32), torch.tensor([3, 0])
    loss = model(images, labels, mode="loss")["loss_label"]
    logits = model(0.25 * images + 0.75 * images[[1, 0]]).log_softmax(dim=1)
    off = 0.2 / 3
    distributions = torch.tensor([[off, off, off, 0.8], [0.8, off, off, off]])
    mixed = 0.25 * distributions + 0.75 * distributions[[1, 0]]
    assert loss.item() == pytest.approx(-(mixed * logits).sum().item() / 2, rel=1e-5)


def test_prediction_uses_plain_targets():
    model = _classifier(mixing=[dict(type="Mixup", alpha=1.0)]).eval()
    images, labels = torch.randn(5, 3, 32, 32), torch.tensor([0, 1, 2, 3, 0])
    ranks = model(images, labels, mode="predict")
    assert ranks == rank_of_truth(model(images), labels).tolist()
    assert all(type(rank) is int for rank in ranks)


def test_zero_gamma_blocks_start_as_identity():
    plain, zeroed = _classifier(), _classifier(zero_gamma=True)

    def zeros(model):
        return [
            name
            for name, parameter in model.named_parameters()
            if name.endswith("weight") and not parameter.any()
        ]

    assert zeros(plain) == []
    # A ResNet-10 has one basic block a stage, and its last norm is bn2.
    assert zeros(zeroed) == [f"backbone.net.layer{stage}.0.bn2.weight" for stage in (1, 2, 3, 4)]


def test_head_initialisation():
    head = _classifier().head
    bound = math.sqrt(6 / (head.in_features + head.out_features))
    assert head.weight.abs().max() <= bound
    assert head.weight.abs().max() > 0.9 * bound
    assert not head.bias.any()
    assert isinstance(head, nn.Linear)


def test_one_step_reduces_loss():
    model = _classifier().train()
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 4
    first = model(images, labels, mode="loss")["loss_label"]
    assert first.item() == pytest.approx(
        functional.cross_entropy(model(images), labels).item(), rel=1e-4
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    first.backward()
    optimizer.step()
    assert model(images, labels, mode="loss")["loss_label"] < first


def test_penalties_and_dropout_reach_loss():
    penalties = [dict(type="WeightPenalty", power=2, weight=0.5)]
    model = _classifier(penalties=penalties, dropout=0.5)
    images, labels = torch.randn(4, 3, 32, 32), torch.arange(4)
    terms = model.eval()(images, labels, mode="loss")
    expected = sum(p.square().sum().item() for p in model.parameters() if p.ndim > 1) / 4
    assert terms["loss_l2"].item() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(model(images), model(images))
    assert not torch.equal(model.train()(images), model(images))
