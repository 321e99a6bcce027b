"""A teacher's logits on the student's images; the student's files do not include the teacher."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import backbones
from backbones import CheckpointError, CheckpointMetadata
from cls_train.assemble import CONFIGS
from cls_train.classifier import ImageClassifier
from cls_train.distillation import Distillation
from cls_train.train import Classification
from contract.errors import UserError
from engine import config as configs
from engine.measure.memory import step_memory

MEAN, STD = (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)
SPEC = "resnet10_d-w8"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A classifier of four classes: its network, its head and its file."""
    torch.manual_seed(1)
    network = backbones.create(SPEC)
    head = nn.Linear(network.feature_info[-1].channels, 4)
    path = tmp_path_factory.mktemp("teacher") / "backbone.safetensors"
    metadata = CheckpointMetadata(SPEC, "standard", (), 50.0, MEAN, STD, "RGB", 0, "raw")
    backbones.export_checkpoint(network, path, metadata, head=head)
    return network.eval(), head, path


def _student(path, **options):
    torch.manual_seed(0)
    distillation = dict(type="Distillation", teacher=str(path), num_classes=4, mean=MEAN, std=STD)
    return ImageClassifier(
        backbone=dict(type="TransferBackbone", spec="resnet10_b-w8"),
        num_classes=4,
        targets=dict(type="SmoothedTargets", epsilon=0.1),
        loss=dict(type="CrossEntropy"),
        distillation={**distillation, **options},
        mixing=[dict(type="Mixup", alpha=1.0)],
    )


@pytest.mark.parametrize(
    ("trick", "weights"), [("distillation", (1.0, 1.0)), ("distillation_gluoncv", (0.5, 0.5))]
)
def test_teacher_sees_student_images(teacher, monkeypatch, trick, weights):
    values = configs.load(CONFIGS, "imagenet", (trick,), {}).distillation
    assert (values.label_weight, values.teacher_weight, values.temperature) == (*weights, 20)
    network, head, path = teacher
    student = _student(path, label_weight=weights[0], teacher_weight=weights[1]).eval()
    monkeypatch.setattr(student.mixing[0].beta, "sample", lambda: torch.tensor(0.25))
    monkeypatch.setattr(torch, "randperm", lambda count, **_: torch.tensor([1, 0]))
    images, labels = torch.randn(2, 3, 32, 32), torch.tensor([3, 0])
    terms = student(images, labels, mode="loss")
    mixed = 0.25 * images + 0.75 * images[[1, 0]]
    with torch.no_grad():
        r = head(network(mixed)[-1].mean(dim=(2, 3)))
        z = student(mixed)
    # KL divergence and entropy of the teacher make up the cross entropy.
    soft = functional.softmax(r / 20, dim=1)
    divergence = functional.kl_div(
        functional.log_softmax(z / 20, dim=1), soft, reduction="batchmean"
    )
    entropy = -(soft * soft.log()).sum(dim=1).mean()
    expected = weights[1] * 400 * (divergence + entropy)
    assert terms["loss_teacher"].item() == pytest.approx(expected.item(), rel=1e-4)
    smooth = torch.full((2, 4), 0.1 / 3).scatter(1, labels[:, None], 0.9)
    hard = functional.cross_entropy(z, 0.25 * smooth + 0.75 * smooth[[1, 0]])
    assert terms["loss_label"].item() == pytest.approx(weights[0] * hard.item(), rel=1e-4)


def test_teacher_is_excluded_from_student(teacher):
    _, head, path = teacher
    student = _student(path).train()
    plain = ImageClassifier(
        backbone=dict(type="TransferBackbone", spec="resnet10_b-w8"),
        num_classes=4,
        targets=dict(type="SmoothedTargets"),
        loss=dict(type="CrossEntropy"),
    )
    assert student.state_dict().keys() == plain.state_dict().keys()
    terms = student(torch.randn(4, 3, 32, 32), torch.arange(4), mode="loss")
    sum(terms.values()).backward()
    network, copied_head = student.distillation._teacher
    assert not network.training
    assert all(p.grad is None for p in (*network.parameters(), *copied_head.parameters()))
    assert torch.equal(copied_head.weight, head.weight)


def test_teacher_uses_own_normalisation(teacher, tmp_path):
    network, head, _ = teacher
    mean, std = (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)
    metadata = CheckpointMetadata(SPEC, "standard", (), 50.0, mean, std, "RGB", 0, "raw")
    backbones.export_checkpoint(network, tmp_path / "other.safetensors", metadata, head=head)
    module = Distillation(str(tmp_path / "other.safetensors"), 4, MEAN, STD)
    pixels = torch.rand(2, 3, 32, 32) * 255

    def normalised(mean, std):
        return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

    with torch.no_grad():
        expected = head(network(normalised(mean, std))[-1].mean(dim=(2, 3)))
    torch.testing.assert_close(
        module.compute_teacher_logits(normalised(MEAN, STD)), expected, rtol=1e-4, atol=1e-4
    )


def test_backbone_loader_ignores_head(teacher):
    network, _, path = teacher
    other = backbones.create(SPEC)
    report = backbones.load_checkpoint(other, path, spec=SPEC)
    assert report.matched == report.total == len(network.state_dict())
    assert backbones.verify_checkpoint(other, path).matched == report.total


def test_unsuitable_teachers_are_refused(teacher, tmp_path):
    network, _, path = teacher
    with pytest.raises(UserError, match="knows 4 classes, the data have 7"):
        Distillation(str(path), 7, MEAN, STD)
    with pytest.raises(UserError, match="temperature=0 was given"):
        Distillation(str(path), 4, MEAN, STD, temperature=0)
    metadata = CheckpointMetadata(SPEC, "standard", (), 50.0, MEAN, STD, "RGB", 0, "raw")
    backbones.export_checkpoint(network, tmp_path / "headless.safetensors", metadata)
    with pytest.raises(CheckpointError, match="holds a backbone without its classifier"):
        Distillation(str(tmp_path / "headless.safetensors"), 4, MEAN, STD)


def test_memory_of_a_step_with_a_teacher(teacher):
    """On fake tensors the teacher is not run, and stays where it is."""
    student = _student(teacher[2]).train()
    task = Classification()

    def run(network, images, device):
        return task.loss_of_shapes(network, torch.empty(images, 3, 64, 64, device=device))

    memory = step_memory(student, run)
    images = torch.rand(2, 3, 64, 64)
    logits = student.distillation.compute_teacher_logits(images)
    assert type(logits) is torch.Tensor and logits.device.type == "cpu"
    student.distillation = None
    without = step_memory(student, run)
    assert without.per_image <= memory.per_image < 1.01 * without.per_image
