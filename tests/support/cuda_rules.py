"""Which ops CUDA takes tensors of the CPU in, and which make the host wait.

Source: the checks of torch's CUDA kernels (aten/src/ATen/TensorIterator.cpp, native/TensorAdvancedIndexing.cpp).
"""

import torch

aten = torch.ops.aten

COPIES = {aten.copy_.default, aten._to_copy.default, aten._foreach_copy_.default}
# Ops that take a CPU tensor without dimensions as a number, besides all elementwise ones.
TAKES_NUMBERS = {
    aten.index_put_.default,
    aten.index_put.default,
    aten.masked_fill_.Tensor,
    aten.masked_fill.Tensor,
    aten.fill_.Tensor,
    aten.fill.Tensor,
}
# Indices may be on the CPU if the indexed tensor is on the GPU.
TAKES_INDICES = {
    aten.index.Tensor,
    aten.index_put_.default,
    aten.index_put.default,
    aten._index_put_impl_.default,
    aten._unsafe_index.Tensor,
    aten._unsafe_index_put.default,
}
# Ops whose result has a size that depends on values, so that the host waits for the GPU.
WAITS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
}


def check_devices(func, args, tensors, on_device):
    """Refuse an op on tensors of the GPU and of the CPU, unless CUDA allows it.

    Args:
        func: The op.
        args: Its positional arguments.
        tensors: All its tensors.
        on_device: The class of tensors on the GPU.

    Raises:
        RuntimeError: In CUDA's words.
    """
    if func in COPIES:
        return
    for tensor in tensors:
        if isinstance(tensor, on_device):
            continue
        is_number = tensor.dim() == 0 and tensor.device.type == "cpu"
        if is_number and (torch.Tag.pointwise in func.tags or func in TAKES_NUMBERS):
            continue
        indexed = isinstance(args[0], on_device)
        if func in TAKES_INDICES and indexed and any(tensor is index for index in args[1]):
            continue
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! (when "
            f"calling {func}; the tensor on the CPU has the shape {tuple(tensor.shape)})"
        )


def check_generators(func, leaves):
    """Refuse a generator of the CPU for random numbers on the GPU."""
    for leaf in leaves:
        if isinstance(leaf, torch.Generator) and leaf.device.type == "cpu":
            raise RuntimeError(
                f"Expected a 'cuda' device type for generator but found 'cpu' (when calling {func})"
            )


def nested_values(values):
    """Yield the values in nested lists and tuples, as which arguments of ops are given."""
    # Faster than torch's pytree.
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from nested_values(value)
        else:
            yield value
