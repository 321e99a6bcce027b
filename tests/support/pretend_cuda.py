"""Tensors that say device `cuda` and compute on the CPU: placement faults show on a machine without a GPU.

`with pretend_cuda():` makes `torch.cuda.is_available()` true, and every tensor that is created on or moved to the
device `cuda` a `PretendTensor`. Each op on it runs on a CPU tensor inside, so values are real, and code that depends on
them (boolean masks, nms, sampling) runs. An op that mixes devices where CUDA refuses it is refused here in CUDA's
words; reads of device values by the host are counted.

Not covered: kernels that CUDA does not have or has for other dtypes only, numerics, streams and memory.

torch itself sees tensors of the device `meta`, because its autograd engine fails on the device `cuda` without a GPU.
Where torch asks for a new tensor on `meta` because of an input, `cuda` is meant; code that names `meta` gets `meta`.
"""

import contextlib
from collections import Counter

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from support.cuda_autocast import cast_arguments
from support.cuda_rules import WAITS, check_devices, check_generators, nested_values
from support.cuda_stubs import STUBS

CUDA = torch.device("cuda", 0)
CPU = torch.device("cpu")


class PretendTensor(torch.Tensor):
    """A tensor of device `cuda:0`.

    Attributes:
        inner: The CPU tensor with its values.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = CUDA
    is_cuda = True
    is_cpu = False
    is_meta = False

    @staticmethod
    def __new__(cls, inner):
        inner = inner.detach()
        shape = torch.empty_strided(inner.size(), inner.stride(), dtype=inner.dtype, device="meta")
        # `isinstance(tensor, torch.cuda.LongTensor)` asks the keys.
        made = torch.Tensor._make_subclass(cls, shape, device_for_backend_keys=CUDA)
        made.inner = inner
        return made

    def __repr__(self):
        return f"PretendTensor({self.inner!r}, device='{CUDA}')"

    def get_device(self):
        return CUDA.index

    def numpy(self, *_, **__):
        raise TypeError(
            f"can't convert {CUDA} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory "
            "first."
        )

    __array__ = numpy

    def tolist(self):
        return self.cpu().tolist()

    def cuda(self, *_, **__):
        return self

    def type(self, *args, **kwargs):
        if args or kwargs:
            return super().type(*args, **kwargs)
        return super().type().replace("meta", "cuda")

    def __format__(self, spec):
        return format(self.item(), spec) if self.dim() == 0 else repr(self)

    @property
    def data(self):
        return super().data

    @data.setter
    def data(self, value):
        torch.Tensor.data.__set__(self, value)
        self.inner = value.inner

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _dispatch(func, args, kwargs or {}, OUTSIDE)


class PretendMode(TorchDispatchMode):
    """Sees every op of torch.

    Attributes:
        waits: How often each op made the host wait for the GPU.
        named_meta: Whether the code that called torch means the device `meta` where torch asks for it.
        suspended: Whether ops are left to torch's fake tensors.
    """

    def __init__(self):
        super().__init__()
        self.waits = Counter()
        self.named_meta = False
        self.suspended = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if self.suspended:
            return func(*args, **(kwargs or {}))
        return _dispatch(func, args, kwargs or {}, self)


# Of tensors that outlive the pretence.
OUTSIDE = PretendMode()


class PretendFunctions(TorchFunctionMode):
    """Sees every call of torch from Python: conversions, autocast, and whether the device `meta` is named."""

    def __init__(self, mode):
        super().__init__()
        self.mode = mode

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None:
            return self._on_fake_tensors(func, args, kwargs)
        if torch.is_autocast_enabled("cuda"):
            args, kwargs = cast_arguments(func, args, kwargs)
        convert = CONVERSIONS.get(getattr(func, "__name__", None))
        if convert is not None:
            args = (func, *args)
            func = convert
        before = self.mode.named_meta
        self.mode.named_meta = any(map(_is_meta, nested_values((*args, *kwargs.values()))))
        try:
            return func(*args, **kwargs)
        finally:
            self.mode.named_meta = before

    def _on_fake_tensors(self, func, args, kwargs):
        """Let torch's fake tensors, which know the device `cuda`, count without the pretence."""
        args = _map(_shape_of, tuple(args))
        kwargs = {key: _map(_shape_of, value) for key, value in kwargs.items()}
        before, self.mode.suspended = self.mode.suspended, True
        try:
            return func(*args, **kwargs)
        finally:
            self.mode.suspended = before


def _shape_of(value):
    if not isinstance(value, PretendTensor):
        return value
    with no_dispatch():
        shape = torch.empty_like(value.inner, device="meta")
    return shape.requires_grad_(value.requires_grad)


def _map(function, tree):
    if isinstance(tree, (list, tuple)):
        return type(tree)([_map(function, value) for value in tree])
    return function(tree)


def _is_meta(value):
    if isinstance(value, torch.Tensor):
        return value.device.type == "meta"
    return isinstance(value, (str, torch.device)) and str(value) == "meta"


def _to(func, tensor, *args, copy=False, **kwargs):
    if args and isinstance(args[0], torch.Tensor):
        args = (args[0].device, args[0].dtype, *args[1:])
    if "other" in kwargs:
        other = kwargs.pop("other")
        args = (other.device, other.dtype)
    device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*args, **kwargs)
    dtype = dtype or tensor.dtype
    if device is not None and device.type == "meta" and isinstance(tensor, PretendTensor):
        return torch.empty_like(
            tensor.inner, dtype=dtype, device=device, requires_grad=tensor.requires_grad
        )
    found = {"copy": copy, "non_blocking": non_blocking, "dtype": dtype}
    if memory_format is not None:
        found["memory_format"] = memory_format
    # torch compares a named device with the one that it sees, `meta`.
    if device is not None and device.type != tensor.device.type:
        found["device"] = device
    return func(tensor, **found)


def _type_as(func, tensor, other):
    return func(tensor, other) if tensor.device == other.device else tensor.to(other)


def _new_tensor(func, tensor, data, dtype=None, device=None, **kwargs):
    return torch.tensor(data, dtype=dtype or tensor.dtype, device=device or tensor.device, **kwargs)


def _tensor(func, data, **kwargs):
    # torch reads single values of the device one by one.
    if isinstance(data, (list, tuple)):
        data = _map(lambda value: value.item() if isinstance(value, PretendTensor) else value, data)
    return func(data, **kwargs)


def _item(func, tensor, index, *value):
    # torch makes a tensor of a list on the device that it sees, where it has no values.
    def on_device(part):
        is_list = isinstance(part, (list, np.ndarray))
        return torch.as_tensor(part).to(CUDA) if is_list else part

    if isinstance(tensor, PretendTensor):
        index = tuple(map(on_device, index)) if isinstance(index, tuple) else on_device(index)
    return func(tensor, index, *value)


CONVERSIONS = {
    "__getitem__": _item,
    "__setitem__": _item,
    "to": _to,
    "type_as": _type_as,
    "new_tensor": _new_tensor,
    "tensor": _tensor,
    "pin_memory": lambda func, tensor, *_, **__: tensor,
}


def _dispatch(func, args, kwargs, mode):
    """Run an op on the CPU; refuse what CUDA refuses."""
    leaves = list(nested_values((*args, *kwargs.values())))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, PretendTensor)]
    to_device = _is_on_device(func, args, kwargs, ours, mode)
    if not ours and not to_device:
        return func(*args, **kwargs)
    if len(ours) < len(tensors):
        check_devices(func, args, tensors, PretendTensor)
    if to_device:
        check_generators(func, leaves)
    if ours and (func in WAITS or not to_device):
        mode.waits[str(func)] += 1
    inner = {key: _map(_inner, value) for key, value in kwargs.items() if key != "pin_memory"}
    try:
        found = func(*_map(_inner, args), **inner)
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise torch.OutOfMemoryError(f"CUDA out of memory. {error}") from error
        raise
    if torch.Tag.inplace_view in func.tags:
        # The outer tensor's size changes with that of the inner one.
        args[0].data = PretendTensor(args[0].inner)
    known = {id(tensor.inner): tensor for tensor in ours}

    def outer(leaf):
        if not isinstance(leaf, torch.Tensor):
            return leaf
        if id(leaf) in known:
            return known[id(leaf)]
        return PretendTensor(leaf) if to_device else leaf

    return _map(outer, found)


def _is_on_device(func, args, kwargs, ours, mode):
    """Return whether an op's results are on the GPU."""
    if func is torch.ops.aten.copy_.default:
        return isinstance(args[0], PretendTensor)
    if kwargs.get("device") is None:
        return bool(ours)
    device = torch.device(kwargs["device"]).type
    return device == "cuda" or (device == "meta" and not mode.named_meta)


def _inner(leaf):
    if isinstance(leaf, PretendTensor):
        return leaf.inner
    return CPU if isinstance(leaf, torch.device) else leaf


def _load_onto_device(load):
    """Wrap `torch.load`: tensors go to the device after they are read, because storages cannot pretend."""

    def loaded(file, map_location=None, **kwargs):
        is_name = isinstance(map_location, (str, torch.device))
        if not is_name or torch.device(map_location).type != "cuda":
            return load(file, map_location, **kwargs)
        found = load(file, "cpu", **kwargs)
        return pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.to(CUDA), found)

    return loaded


def _save_from_device(save):
    """Wrap `torch.save`: the values are written, because the class that pretends is not one that files may contain."""

    def saved(content, *arguments, **kwargs):
        content = pytree.tree_map_only(PretendTensor, lambda tensor: tensor.inner, content)
        return save(content, *arguments, **kwargs)

    return saved


def _group_by_device(group):
    """Wrap the function by which torch groups gradients, to clip their norm."""

    def grouped(lists, with_indices=False):
        found = group(lists, with_indices)
        on_device = any(isinstance(leaf, PretendTensor) for leaf in nested_values(lists))
        if not on_device:
            return found
        return {
            (CUDA if device.type == "meta" else device, dtype): tensors
            for (device, dtype), tensors in found.items()
        }

    return grouped


@contextlib.contextmanager
def pretend_cuda():
    """Pretend that this machine has one GPU; yields the `PretendMode`, which counts waits."""
    import mmengine.device.utils

    torch._C._ensureCUDADeviceGuardSet()
    mode = PretendMode()
    with pytest.MonkeyPatch.context() as patch:
        for name, stub in STUBS.items():
            patch.setattr(torch.cuda, name, stub)
        patch.setattr(mmengine.device.utils, "DEVICE", "cuda")
        patch.setattr(torch, "load", _load_onto_device(torch.load))
        patch.setattr(torch, "save", _save_from_device(torch.save))
        name = "_group_tensors_by_device_and_dtype"
        patch.setattr(torch._C, name, _group_by_device(getattr(torch._C, name)))
        # `Module.to` otherwise writes into the CPU parameters, which cannot become another class.
        patch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)
        # `torch.tensor(…, device="cuda")` then copies where the mode sees it.
        before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        try:
            with mode, PretendFunctions(mode):
                yield mode
        finally:
            torch._C._set_only_lift_cpu_tensors(before)
