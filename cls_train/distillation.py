"""Knowledge distillation from a trained classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

import backbones
from cls_train.losses import distillation_loss
from contract.errors import UserError


@MODELS.register_module()
class Distillation(nn.Module):
    """The distillation loss: weight · T² ℓ(softmax(r / T), softmax(z / T)) (paper §5.3; 1503.02531).

    The teacher is not part of the student's parameters: it is not trained, averaged or written into checkpoints. It
    runs in evaluation mode on the same batch as the student.

    Args:
        teacher: The pretrained checkpoint of a classification task.
        num_classes: K of the student.
        mean: Mean of the student's normalisation, on the scale 0 to 255, RGB.
        std: Standard deviation of the student's normalisation.
        temperature: T > 0.
        label_weight: Weight of the loss against the labels, which the classifier computes.
        teacher_weight: Weight of this term.

    Raises:
        UserError: The teacher has another number of classes.
        CheckpointError: The file is missing, damaged, or contains no classifier.
    """

    def __init__(
        self,
        teacher: str,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        temperature: float = 20.0,
        label_weight: float = 1.0,
        teacher_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise UserError(f"distillation temperature={temperature} was given; it must be above 0")
        network, head, metadata = backbones.load_classifier(Path(teacher))
        if head.out_features != num_classes:
            raise UserError(
                f"the teacher {teacher} ({metadata.spec}) knows {head.out_features} classes, the data have "
                f"{num_classes}; name a teacher that was trained on these data"
            )
        self.temperature = temperature
        self.label_weight = label_weight
        self.teacher_weight = teacher_weight
        # A tuple keeps torch from registering them as submodules.
        network = network.to(memory_format=torch.channels_last).eval()
        self._teacher = (network.requires_grad_(False), head.requires_grad_(False))
        # z_teacher = (z_student · std + mean − mean') / std'
        scale = torch.tensor(std) / torch.tensor(metadata.std)
        shift = (torch.tensor(mean) - torch.tensor(metadata.mean)) / torch.tensor(metadata.std)
        same = torch.equal(scale, torch.ones(3)) and torch.equal(shift, torch.zeros(3))
        self._normalisation = None if same else (scale[:, None, None], shift[:, None, None])

    def forward(self, logits: Tensor, inputs: Tensor) -> Tensor:
        """Return the scalar loss for the student's logits `(N, K)` and its images `(N, 3, H, W)`."""
        teacher_logits = self.compute_teacher_logits(inputs)
        return self.teacher_weight * distillation_loss(logits, teacher_logits, self.temperature)

    @torch.no_grad()
    def compute_teacher_logits(self, inputs: Tensor) -> Tensor:
        """Return the teacher's logits `(N, K)`."""
        if isinstance(inputs, FakeTensor):
            # The memory of a step is being computed. Nothing of the teacher is kept for the backward pass, and its
            # weights cannot move to a fake device.
            return inputs.new_zeros(len(inputs), self._teacher[1].out_features)
        network, head = (part.to(inputs.device) for part in self._teacher)
        if self._normalisation is not None:
            scale, shift = (tensor.to(inputs.device) for tensor in self._normalisation)
            inputs = inputs * scale + shift
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        return head(network(inputs)[-1].mean(dim=(2, 3)))


def distillation_config(
    recipe: Any, teacher: Path | None, num_classes: int
) -> dict[str, Any] | None:
    """Return the config of `Distillation`, or None if the recipe does not distil.

    Raises:
        UserError: Only one of trick and teacher was given.
    """
    if recipe.distillation is None:
        if teacher is not None:
            raise UserError(
                f"--teacher {teacher} was given, but nothing distils; add --trick distillation"
            )
        return None
    if teacher is None:
        raise UserError(
            "distillation needs a teacher; name the backbone.safetensors of a classification task with "
            "--teacher (in a suite: teacher=ROW)"
        )
    return dict(
        type="Distillation",
        teacher=str(teacher),
        num_classes=num_classes,
        mean=list(recipe.normalisation.mean),
        std=list(recipe.normalisation.std),
        **recipe.distillation,
    )
