"""The pretended GPU follows CUDA's rules for devices, and computes what the CPU computes."""

import copy

import numpy as np
import pytest
import torch
import torchvision
from support.pretend_cuda import pretend_cuda
from torch import nn
from torch.nn import functional


@pytest.fixture(autouse=True)
def mode():
    with pretend_cuda() as mode:
        yield mode


def _cuda(*values):
    return torch.tensor(values, device="cuda")


MIXED = {
    "sum": lambda: _cuda(1.0, 2.0) + torch.ones(2),
    "comparison": lambda: _cuda(1.0, 2.0) == torch.ones(2),
    "matmul": lambda: _cuda(1.0, 2.0) @ torch.ones(2),
    "cat": lambda: torch.cat([_cuda(1.0), torch.ones(1)]),
    "stack of numbers": lambda: torch.stack([_cuda(1.0)[0], torch.tensor(1.0)]),
    "GPU index of a CPU tensor": lambda: torch.ones(2)[_cuda(0)],
    "GPU mask of a CPU tensor": lambda: torch.ones(2)[_cuda(1.0, 2.0) > 1],
    "CPU values at a GPU mask": lambda: _cuda(1.0).index_put_((_cuda(True),), torch.ones(1)),
    "gather": lambda: _cuda(1.0, 2.0).gather(0, torch.tensor([0])),
    "cross entropy": lambda: functional.cross_entropy(torch.ones(1, 2), _cuda(0)),
    "nms": lambda: torchvision.ops.nms(torch.ones(1, 4), _cuda(1.0), 0.5),
    "convolution": lambda: nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2, device="cuda")),
    "device meta": lambda: _cuda(1.0) + torch.ones(1, device="meta"),
}


@pytest.mark.parametrize("call", MIXED.values(), ids=MIXED)
def test_mixed_devices_are_refused(call):
    with pytest.raises(RuntimeError, match="at least two devices, cuda:0 and cpu"):
        call()


def test_generator_of_the_cpu_is_refused():
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator"):
        torch.randn(2, device="cuda", generator=torch.Generator())


@pytest.mark.parametrize("read", [np.asarray, torch.Tensor.numpy, lambda tensor: tensor.numpy()])
def test_numpy_needs_a_copy(read):
    with pytest.raises((TypeError, RuntimeError), match=r"can't convert|numpy"):
        read(_cuda(1.0))
    assert read(_cuda(1.0).cpu()) == 1


def test_rules_that_allow_the_cpu():
    values = _cuda(1.0, 2.0, 3.0)
    assert (values * torch.tensor(2.0)).tolist() == [2, 4, 6]
    assert values[torch.tensor([2, 0])].tolist() == [3, 1]
    assert values[[2, 0]].tolist() == [3, 1]
    assert values[np.array([2, 0])].tolist() == [3, 1]
    values[0] = 5
    values[values > 4] = 6
    values[1:] = torch.tensor([7.0, 8.0])
    values[torch.tensor([1])] = torch.tensor(9.0)
    assert values.tolist() == [6, 9, 8]


def test_device_of_results():
    values = _cuda(1.0, 2.0)
    cpu = torch.ones(2)
    on_device = [
        values.clone(), values.double(), values.new_zeros(3), values.new_tensor([1]), values[0],
        torch.zeros_like(values), torch.arange(3, device=values.device), cpu.to(values), cpu.cuda(),
        cpu.type_as(values), torch.as_tensor([1], device="cuda"), functional.one_hot(_cuda(0, 1)),
        nn.Linear(2, 2).to("cuda").weight, copy.deepcopy(nn.Linear(2, 2).cuda()).bias,
    ]  # fmt: skip
    assert {(tensor.device.type, tensor.is_cuda) for tensor in on_device} == {("cuda", True)}
    on_cpu = [values.cpu(), values.to("cpu"), torch.zeros(2), values.new_zeros(2, device="cpu")]
    assert {(tensor.device.type, tensor.is_cuda) for tensor in on_cpu} == {("cpu", False)}
    assert {torch.empty(2, device="meta").device.type, values.to("meta").device.type} == {"meta"}
    assert values.to("cuda") is values and values.to(torch.float32) is values
    assert isinstance(values, torch.cuda.FloatTensor) and not isinstance(values, torch.FloatTensor)


def test_change_of_shape_in_place():
    values = _cuda(1.0, 2.0)
    values.unsqueeze_(0)
    assert values.shape == values.cpu().shape == (1, 2)


def test_waits_of_the_host_are_counted(mode):
    values = _cuda(1.0, 2.0)
    assert not mode.waits
    values.sum().item()
    bool(values[0] > 0)
    values.nonzero()
    values.cpu()
    assert mode.waits == {
        "aten._local_scalar_dense.default": 2,
        "aten.nonzero.default": 1,
        "aten._to_copy.default": 1,
    }


def _losses(device, dtype=None):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(8 * 14 * 14, 4)).to(device)
    images, labels = torch.rand(2, 3, 16, 16).to(device), torch.tensor([0, 1]).to(device)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    found = []
    for _ in range(3):
        with torch.autocast(device, dtype, enabled=dtype is not None):
            logits = network(images)
            loss = functional.cross_entropy(logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    assert (logits.dtype, loss.dtype) == (dtype or torch.float32, torch.float32)
    assert network[0].weight.grad.device.type == device
    return found


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_training_equals_that_of_the_cpu(dtype):
    assert _losses("cuda", dtype) == _losses("cpu", dtype)


def test_nothing_remains_of_the_pretence():
    before = torch.cuda.is_available()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        with pretend_cuda():
            assert torch.cuda.is_available()
            kept = _cuda(1.0)
        assert not torch.cuda.is_available()
    assert before and kept.cpu().item() == 1
