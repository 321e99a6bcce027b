"""A substitute for `mmcv._ext`, backed by torchvision's CPU and CUDA kernels.

`mmcv-lite` contains the Python side of `mmcv.ops` but not the compiled module `mmcv._ext`, which is built for only a
few pairs of torch and CUDA. Faster R-CNN and FCN need two of its kernels, and the focal loss a third on a GPU;
torchvision has all of them. An installed compiled mmcv is used unchanged.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any, NoReturn

import torch
import torchvision
from torch import Tensor

from contract.errors import UserError
from engine.roi_align_gradient import roi_align_gradient

MODULE = "mmcv._ext"


def install() -> str:
    """Make `mmcv._ext` importable and return which implementation is used.

    Returns:
        `'compiled mmcv'` if the real module exists, else `'torchvision'`.
    """
    loaded = sys.modules.get(MODULE)
    if isinstance(loaded, _TorchvisionOps):
        return "torchvision"
    if loaded is not None or importlib.util.find_spec(MODULE) is not None:
        return "compiled mmcv"
    sys.modules[MODULE] = _TorchvisionOps()
    return "torchvision"


class _TorchvisionOps(types.ModuleType):
    """The module object: mmcv imports a hundred names from it, and few of them are called here."""

    def __init__(self) -> None:
        super().__init__(MODULE, "mmcv's compiled ops, served by torchvision.")
        # mmcv and importlib look the module up by its spec; a module without one counts as absent.
        self.__spec__ = importlib.machinery.ModuleSpec(MODULE, loader=None, origin=__file__)
        self.nms = _nms
        self.roi_align_forward = _roi_align_forward
        self.roi_align_backward = _roi_align_backward
        self.sigmoid_focal_loss_forward = _sigmoid_focal_loss_forward
        self.sigmoid_focal_loss_backward = _sigmoid_focal_loss_backward

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("__"):
            raise AttributeError(name)

        def unavailable(*_args: Any, **_kwargs: Any) -> NoReturn:
            raise UserError(
                f"the op {name!r} of mmcv._ext was called, and torchvision's kernels do not stand in for it "
                "(they do for nms, roi_align and sigmoid_focal_loss); install a compiled mmcv 2.1.0 that matches "
                "this torch, or choose a model that does without the op"
            )

        return unavailable


def _nms(bboxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the kept boxes, by decreasing score.

    Args:
        bboxes: `(N, 4)` corners x1, y1, x2, y2 in pixels.
        scores: `(N,)`.
        iou_threshold: Boxes that overlap a better one by more are dropped.
        offset: 1 for the legacy convention in which a box's width is `x2 - x1 + 1`.
    """
    boxes = bboxes.float()
    if offset:
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    return torchvision.ops.nms(boxes, scores.float(), iou_threshold)


def _check_average_pooling(pool_mode: int) -> None:
    if pool_mode != 1:
        raise UserError(
            "RoIAlign with pool_mode='max' was asked for, and torchvision has average pooling only; "
            "set pool_mode='avg' or install a compiled mmcv 2.1.0"
        )


def _roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the pooled features `(R, C, aligned_height, aligned_width)` of `(N, C, H, W)` into `output`."""
    _check_average_pooling(pool_mode)
    pooled = torch.ops.torchvision.roi_align(
        # Neither bfloat16 nor channels_last has a CPU kernel.
        input.float().contiguous(),
        rois.float(),
        spatial_scale,
        aligned_height,
        aligned_width,
        sampling_ratio,
        aligned,
    )
    output.copy_(pooled)


def _roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient with respect to the feature map `(N, C, H, W)` into `grad_input`."""
    _check_average_pooling(pool_mode)
    batch, channels, height, width = grad_input.shape
    if _must_be_deterministic(grad_output):
        by_products = roi_align_gradient(
            grad_output.float(),
            rois.float(),
            (batch, channels, height, width),
            spatial_scale=spatial_scale,
            sampling_ratio=sampling_ratio,
            aligned=aligned,
        )
        grad_input.copy_(by_products)
        return
    gradient = torch.ops.torchvision._roi_align_backward(
        grad_output.float().contiguous(),
        rois.float(),
        spatial_scale,
        aligned_height,
        aligned_width,
        batch,
        channels,
        height,
        width,
        sampling_ratio,
        aligned,
    )
    grad_input.copy_(gradient)


def _must_be_deterministic(tensor: Tensor) -> bool:
    """Whether torch asks for deterministic algorithms and the kernel has none: on a CPU it adds in a fixed order."""
    return torch.are_deterministic_algorithms_enabled() and tensor.device.type != "cpu"


def _sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, *, gamma: float, alpha: float
) -> None:
    """Write the focal loss (1708.02002) of logits `(N, C)` into `output`, of the same shape.

    Args:
        input: `(N, C)` logits of any floating type.
        target: `(N,)` classes; those outside 0..C-1 are background.
        weight: Empty; class weights are not supported.
        output: `(N, C)`.
        gamma: Exponent of `1 - p_t`.
        alpha: Weight of the true class; the others have weight `1 - alpha`.
    """
    _check_no_class_weight(weight)
    output.copy_(_focal_loss(input.float(), target, gamma, alpha))


def _sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, *, gamma: float, alpha: float
) -> None:
    """Write the derivative of each `(N, C)` loss with respect to its own logit into `grad_input`."""
    _check_no_class_weight(weight)
    with torch.enable_grad():
        logits = input.detach().float().requires_grad_()
        (gradient,) = torch.autograd.grad(_focal_loss(logits, target, gamma, alpha).sum(), logits)
    grad_input.copy_(gradient)


def _focal_loss(logits: Tensor, target: Tensor, gamma: float, alpha: float) -> Tensor:
    classes = torch.arange(logits.shape[1], device=logits.device)
    one_hot = (target[:, None] == classes).to(logits.dtype)
    return torchvision.ops.sigmoid_focal_loss(logits, one_hot, alpha, gamma)


def _check_no_class_weight(weight: Tensor) -> None:
    if weight.numel():
        raise UserError(
            "sigmoid_focal_loss with a weight for each class was asked for, and torchvision's has none; leave the "
            "weight out or install a compiled mmcv 2.1.0"
        )
