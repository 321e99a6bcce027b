"""The adapter through which OpenMMLab's classifiers, detectors and segmentors use any backbone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

import backbones
from backbones import LoadReport, SimpleFeaturePyramid, dense_features
from contract.errors import UserError


@MODELS.register_module()
class TransferBackbone(nn.Module):
    """Any backbone of `backbones.create`, with strictly loaded weights, as mmdet and mmseg expect it.

    It deliberately has no `init_weights`: mmengine calls that method of every child after building, which would
    overwrite the loaded weights.

    Args:
        spec: What `backbones.create` takes, such as `'resnet50_d'`.
        checkpoint: A file written by `backbones.export_checkpoint`; None starts from random weights.
        out_indices: Which of the four maps at the strides 4, 8, 16 and 32 `forward` returns, 0 being the first. A plain
            transformer, which has one map, gets them from a `SimpleFeaturePyramid` beside the network. None returns the
            network's own maps, for a classifier.
        output_stride: 32, 16 or 8.
        frozen_stages: -1 trains everything; 0 freezes the stem; n also freezes the first n stages.
        norm_eval: Use the stored batch statistics in training and leave them unchanged.
        frozen: Train nothing of the backbone; it stays in evaluation mode.
        channels_last: Compute in the NHWC memory layout, which is faster in mixed precision.

    Raises:
        UserError: A map in `out_indices` or a stage in `frozen_stages` does not exist.
        CheckpointError: The file belongs to another backbone, is damaged or is incomplete.
    """

    def __init__(
        self,
        spec: str,
        checkpoint: str | None = None,
        out_indices: Sequence[int] | None = None,
        output_stride: int = 32,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        frozen: bool = False,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.net = backbones.create(spec, output_stride=output_stride)
        dense = out_indices is not None
        info = dense_features(self.net, output_stride) if dense else self.net.feature_info
        self.out_indices = tuple(out_indices if dense else range(len(info)))
        wrong = [i for i in self.out_indices if not 0 <= i < len(info)]
        if wrong:
            raise UserError(
                f"out_indices {list(self.out_indices)} asks for stage {wrong[0]} of {spec}, which has stages 0 to "
                f"{len(info) - 1}"
            )
        self.feature_info = [info[i] for i in self.out_indices]
        self.pyramid = None
        if dense and self.net.plain:
            self.pyramid = SimpleFeaturePyramid(self.net.feature_info[0], self.feature_info)
        self.norm_eval = norm_eval
        self.channels_last = channels_last
        if checkpoint is not None:
            backbones.load_checkpoint(self.net, Path(checkpoint), spec=spec)
        self.frozen = [self.net.requires_grad_(False)] if frozen else self.net.freeze(frozen_stages)
        if channels_last:
            self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return features `(N, C_i, H / stride_i, W / stride_i)` of images `(N, 3, H, W)`, one per out index."""
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        if self.pyramid is not None:
            return tuple(self.pyramid(*self.net(x), x.shape[-2:]))
        features = self.net(x, 1 + max(self.out_indices))
        return tuple(features[i] for i in self.out_indices)

    def train(self, mode: bool = True) -> TransferBackbone:
        """Switch modes as `nn.Module` does, but keep frozen parts and frozen statistics in evaluation mode."""
        super().train(mode)
        if mode:
            for module in self.frozen:
                module.eval()
            if self.norm_eval:
                for module in self.modules():
                    if isinstance(module, nn.modules.batchnorm._BatchNorm):
                        module.eval()
        return self

    def verify(self, checkpoint: str) -> LoadReport:
        """Compare every tensor with the file.

        Raises:
            CheckpointError: A tensor differs.
        """
        return backbones.verify_checkpoint(self.net, Path(checkpoint))
