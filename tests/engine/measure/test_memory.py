"""The memory of a training step: fake tensors against sums by hand and against published limits."""

import pytest
import torch
from torch import distributed, nn
from torch.nn import functional

import backbones
from engine.measure.memory import GIB, is_out_of_memory, step_memory


class Classifier(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.backbone = backbones.create(spec)
        self.head = nn.Linear(self.backbone.feature_info[-1].channels, 1000)


def classify(network, images, device, size=224):
    shown = torch.empty(images, 3, size, size, device=device)
    shown = shown.contiguous(memory_format=torch.channels_last)
    logits = network.head(network.backbone(shown)[-1].mean((2, 3)))
    return functional.cross_entropy(logits, torch.zeros(images, dtype=torch.long, device=device))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_bytes_are_those_that_autograd_saves(device):
    """Two linear layers with a ReLU between: their inputs are saved, the weights are not counted."""
    net = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))

    def run(network, images, place):
        return network(torch.empty(images, 100, device=place, requires_grad=True)).sum()

    found = step_memory(net, run, device=device, state_per_weight=2)
    # Per image the input (100), and the ReLU's output (50), which the second layer shares.
    assert found.per_image == 4 * (100 + 50)
    weights = 4 * (100 * 50 + 50 + 50 * 10 + 10)
    assert found.fixed == 3 * weights
    assert found.transient == 2 * 4 * 100


def test_mixed_precision_saves_half_and_the_cast_weights():
    net = nn.Sequential(nn.Linear(100, 50, bias=False), nn.ReLU(), nn.Linear(50, 10, bias=False))

    def run(network, images, place):
        return network(torch.empty(images, 100, device=place, requires_grad=True)).sum()

    found = step_memory(net, run, dtype=torch.bfloat16, state_per_weight=0)
    assert found.per_image == 2 * (100 + 50)
    # Gradients in float32, and the weights of the first and second layer in bfloat16.
    assert found.fixed == (4 + 2) * (100 * 50 + 50 * 10)
    assert not torch.is_autocast_enabled("cuda")


def test_synchronised_batch_norm_counts_like_batch_norm(monkeypatch):
    """As one of two processes, whose group cannot take fake tensors."""
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda *_: 2)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))

    def run(network, images, place):
        return network(torch.empty(images, 3, 16, 16, device=place)).sum()

    expected = step_memory(net, run)
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(net, process_group="group")
    assert step_memory(synchronised, run) == expected
    assert "forward" not in vars(synchronised[1])


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be …"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("CUDA error: out of memory"), False),
    ],
)
def test_errors_of_a_full_device(error, full):
    assert is_out_of_memory(error) is full


def test_network_and_generators_are_unchanged():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.random.get_rng_state()
    step_memory(net, lambda network, n, place: network(torch.empty(n, 4, device=place)).sum())
    assert not net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("spec", "fits", "does_not"),
    [
        # timm's benchmark of training throughput on an RTX 3090 (24 GB; AMP, NHWC), largest batch that ran.
        ("resnet50_d", 384, 512),
        ("resnet152_d", 192, 256),
    ],
)
def test_estimate_brackets_published_limits(spec, fits, does_not):
    memory = step_memory(Classifier(spec), classify, dtype=torch.bfloat16)
    usable = 23.5 * GIB  # 24 GB less what CUDA itself takes
    assert memory.of(fits) < usable < memory.of(does_not)


def test_attention_keeps_no_pairs_of_positions():
    """Fused attention keeps query, key, value, output and a float32 number for each query."""

    def run(network, images, place):
        shape = (images, 2, 1000, 16)
        query, key, value = (torch.empty(shape, device=place, requires_grad=True) for _ in range(3))
        return functional.scaled_dot_product_attention(query, key, value).square().sum()

    found = step_memory(nn.Linear(1, 1), run)
    assert found.per_image == 4 * 2 * 1000 * (4 * 16 + 1)
