"""Smoothed targets and the loss against independent formulas."""

import math

import pytest
import torch
from torch.nn import functional

from cls_train.assemble import CONFIGS
from cls_train.losses import (
    CrossEntropy,
    SmoothedTargets,
    SoftmaxFocalLoss,
    WeightPenalty,
    distillation_loss,
)
from contract.errors import UserError
from engine import config as configs

cross_entropy = CrossEntropy()
LABELS = torch.tensor([0, 2])


def test_paper_smoothing_targets():
    targets = SmoothedTargets(0.1, "paper")(LABELS, 5)
    expected = [[0.9, 0.025, 0.025, 0.025, 0.025], [0.025, 0.025, 0.9, 0.025, 0.025]]
    torch.testing.assert_close(targets, torch.tensor(expected))


def test_uniform_smoothing_matches_torch():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 7), torch.randint(7, (6,))
    ours = cross_entropy(logits, SmoothedTargets(0.2, "uniform")(labels, 7))
    torch.testing.assert_close(ours, functional.cross_entropy(logits, labels, label_smoothing=0.2))
    theirs = cross_entropy(logits, SmoothedTargets(0.2, "paper")(labels, 7))
    assert not torch.isclose(ours, theirs)


@pytest.mark.parametrize("off_target", ["paper", "uniform"])
def test_targets_are_distributions(off_target):
    smoothed = SmoothedTargets(0.3, off_target)(LABELS, 4)
    torch.testing.assert_close(smoothed.sum(dim=1), torch.ones(2))
    assert smoothed.dtype == torch.float32
    plain = SmoothedTargets(0.0, off_target)(LABELS, 4)
    assert torch.equal(plain, functional.one_hot(LABELS, 4).float())


def test_single_class():
    targets = SmoothedTargets(0.1, "paper")(torch.zeros(3, dtype=torch.long), 1)
    assert targets.tolist() == [[1.0]] * 3


def test_loss_by_hand():
    logits = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 0.0]])
    targets = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0]])
    total = 0.0
    for row, q in zip(logits.tolist(), targets.tolist(), strict=True):
        norm = math.log(sum(math.exp(z) for z in row))
        total -= sum(p * (z - norm) for p, z in zip(q, row, strict=True))
    assert cross_entropy(logits, targets).item() == pytest.approx(total / 2, rel=1e-6)


@pytest.mark.parametrize(("classes", "epsilon"), [(5, 0.1), (10, 0.3)])
def test_minimiser_has_paper_gap(classes, epsilon):
    targets = SmoothedTargets(epsilon, "paper")(torch.tensor([1]), classes).double()
    logits = torch.zeros(1, classes, dtype=torch.double, requires_grad=True)
    for _ in range(4000):
        # Not through cross_entropy, whose float32 would end the descent early.
        (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, targets), logits)
        logits = (logits - 2.0 * gradient).detach().requires_grad_()
    gap = (logits[0, 1] - logits[0, 0]).item()
    assert gap == pytest.approx(math.log((classes - 1) * (1 - epsilon) / epsilon), abs=1e-4)
    at_minimum = logits.detach().float().requires_grad_()
    cross_entropy(at_minimum, targets.float()).backward()
    assert at_minimum.grad.abs().max() < 1e-5


def test_loss_is_float32_under_autocast():
    torch.manual_seed(0)
    features, weight = torch.randn(8, 16), torch.randn(10, 16)
    targets = SmoothedTargets(0.1)(torch.arange(8), 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = features @ weight.T
        loss = cross_entropy(logits, targets)
    assert logits.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    outside = cross_entropy(logits, targets)
    assert outside.dtype == torch.float32
    exact = functional.cross_entropy(logits.double(), targets.double())
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)
    assert outside.item() == pytest.approx(exact.item(), rel=1e-6)


@pytest.mark.parametrize("epsilon", [-0.1, 1.0, float("nan")])
def test_epsilon_out_of_range(epsilon):
    with pytest.raises(UserError, match=rf"epsilon={epsilon} was given; it must lie in \[0, 1\)"):
        SmoothedTargets(epsilon)


def test_unknown_convention():
    with pytest.raises(UserError, match="off_target 'unifrom'; did you mean 'uniform'"):
        SmoothedTargets(0.1, "unifrom")


def test_focal_loss_by_hand():
    assert configs.load(CONFIGS, "imagenet", ("focal_loss",), {}).loss.gamma == 2
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    targets = functional.one_hot(labels, 4).float()
    expected = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        p = math.exp(row[label]) / sum(math.exp(z) for z in row)
        expected -= (1 - p) ** 2 * math.log(p)
    assert SoftmaxFocalLoss(2.0)(logits, targets).item() == pytest.approx(expected / 5, rel=1e-5)
    plain = functional.cross_entropy(logits, labels)
    torch.testing.assert_close(SoftmaxFocalLoss(0.0)(logits, targets), plain)


def test_focal_loss_gradient_at_certainty():
    logits = torch.tensor([[6.0, 0.0]], requires_grad=True)
    SoftmaxFocalLoss(1.0)(logits, torch.tensor([[1.0, 0.0]])).backward()
    # d/dz of −(1 − p) log p at 1 − p = ε is about −2 ε².
    rest = 1 / (1 + math.exp(6))
    assert logits.grad[0, 0].item() == pytest.approx(-2 * rest**2, rel=1e-2)


def test_distillation_by_hand():
    z, r, temperature = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[3.0, 0.0, -1.0]]), 20.0
    student = [math.exp(v / temperature) for v in z[0].tolist()]
    teacher = [math.exp(v / temperature) for v in r[0].tolist()]
    expected = -400 * sum(
        t / sum(teacher) * math.log(s / sum(student)) for t, s in zip(teacher, student, strict=True)
    )
    assert distillation_loss(z, r, temperature).item() == pytest.approx(expected, rel=1e-6)


def test_distillation_at_high_temperature_matches_logits():
    torch.manual_seed(0)
    z, r = torch.randn(1, 6, requires_grad=True), torch.randn(1, 6, requires_grad=True)
    distillation_loss(z.double(), r.double(), 1e3).backward()
    # Hinton et al., 1503.02531, §2.1: matching of logits that are centred.
    expected = ((z - z.mean()) - (r - r.mean())) / 6
    torch.testing.assert_close(z.grad, expected.detach(), rtol=2e-2, atol=2e-3)
    assert r.grad is None


@pytest.mark.parametrize(("trick", "power", "weight"), [("l1", 1, 1e-5), ("l2", 2, 1e-4)])
def test_tricks_add_one_penalty(trick, power, weight):
    config = configs.load(CONFIGS, "imagenet", (trick,), {})
    assert config.penalties == {trick: dict(type="WeightPenalty", power=power, weight=weight)}
    # The loss takes over the decay from the optimiser.
    assert config.weight_decay == (0 if trick == "l2" else 1e-4)


def test_penalties_skip_bias_and_norm():
    weight = torch.tensor([[1.0, -2.0], [0.0, 3.0]], requires_grad=True)
    bias = torch.tensor([100.0], requires_grad=True)
    assert WeightPenalty(1, 0.1)([weight, bias]).item() == pytest.approx(0.6)
    l2 = WeightPenalty(2, 0.1)([weight, bias])
    assert l2.item() == pytest.approx(0.05 * 14)
    l2.backward()
    # The gradient of weight decay.
    torch.testing.assert_close(weight.grad, 0.1 * weight.detach())
    assert bias.grad is None
