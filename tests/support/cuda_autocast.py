"""The casts of `torch.autocast("cuda")`, for tensors that are on no real GPU.

Source: "Autocast Op Reference", pytorch.org/docs/stable/amp.html, lists for CUDA; only ops that this code base calls.
"""

import torch

from support.cuda_rules import nested_values

LOWER = {
    "conv1d", "conv2d", "conv3d", "conv_transpose2d", "linear", "matmul", "mm", "mv", "bmm", "addmm", "einsum",
    "__matmul__", "__rmatmul__", "prelu", "scaled_dot_product_attention",
}  # fmt: skip
FLOAT32 = {
    "softmax", "log_softmax", "cross_entropy", "nll_loss", "binary_cross_entropy_with_logits", "kl_div", "l1_loss",
    "smooth_l1_loss", "mse_loss", "layer_norm", "group_norm", "norm", "exp", "expm1", "log", "log10", "log1p", "log2",
    "pow", "__pow__", "reciprocal", "rsqrt", "sum", "prod", "cumsum", "cumprod", "cdist", "cosine_similarity",
    "normalize", "softplus", "vector_norm",
}  # fmt: skip
WIDEST = {"cat", "stack", "addcdiv", "addcmul", "index_put", "scatter_add", "grid_sample"}


def cast_arguments(func, args, kwargs):
    """Return the arguments of a call of torch as autocast passes them on."""
    name = getattr(func, "__name__", "")
    if name in LOWER:
        dtype = torch.get_autocast_dtype("cuda")
    elif name in FLOAT32:
        dtype = torch.float32
    elif name in WIDEST:
        found = [leaf.dtype for leaf in nested_values(args) if _is_eligible(leaf)]
        dtype = torch.float32 if torch.float32 in found else None
    else:
        return args, kwargs
    if dtype is None:
        return args, kwargs

    def cast(value):
        if isinstance(value, (list, tuple)):
            return type(value)(map(cast, value))
        return value.to(dtype=dtype) if _is_eligible(value) else value

    return tuple(map(cast, args)), {key: cast(value) for key, value in kwargs.items()}


def _is_eligible(value):
    return (
        isinstance(value, torch.Tensor)
        and value.device.type == "cuda"
        and value.dtype in (torch.float32, torch.float16, torch.bfloat16)
    )
