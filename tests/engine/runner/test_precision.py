"""The choice of a number format, and training under autocast without loss scaling."""

import pytest
import torch
from mmengine.registry import OPTIM_WRAPPERS
from support.gpus import A100, stub_torch
from torch import nn

from contract.errors import UserError
from engine.runner import precision
from engine.runner.precision import AutocastOptimWrapper, choose_precision


@pytest.mark.parametrize(
    ("capability", "dtype", "wrapper"),
    [
        # Pascal: no tensor cores.
        ((6, 1), "float32", dict(type="OptimWrapper")),
        ((7, 0), "float16", dict(type="AmpOptimWrapper", dtype="float16", loss_scale="dynamic")),
        ((7, 5), "float16", dict(type="AmpOptimWrapper", dtype="float16", loss_scale="dynamic")),
        (
            (8, 0),
            "bfloat16",
            dict(type="AutocastOptimWrapper", dtype="bfloat16", device_type="cuda"),
        ),
        (
            (9, 0),
            "bfloat16",
            dict(type="AutocastOptimWrapper", dtype="bfloat16", device_type="cuda"),
        ),
    ],
)
def test_auto_on_cuda_follows_compute_capability(monkeypatch, capability, dtype, wrapper):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    chosen = choose_precision("auto", "cuda")
    assert (chosen.dtype, chosen.device_type, chosen.mixed) == (dtype, "cuda", dtype != "float32")
    assert chosen.optim_wrapper() == wrapper


@pytest.mark.parametrize(
    ("flags", "dtype", "said"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "bfloat16", "AMX"),
        ({"amx_bf16": False, "avx512_bf16": True}, "bfloat16", "AVX-512"),
        ({"amx_bf16": False, "avx512_bf16": False}, "float32", "no bfloat16 units"),
        ({}, "float32", "no bfloat16 units"),
    ],
)
def test_auto_on_cpu_follows_instructions(monkeypatch, flags, dtype, said):
    monkeypatch.setattr(precision, "cpu_capabilities", lambda: flags)
    chosen = choose_precision("auto", "cpu")
    assert chosen.dtype == dtype
    assert said in chosen.reason
    assert str(chosen) == f"{dtype} on cpu: {chosen.reason}"


def test_reads_own_capabilities():
    assert "amx_bf16" in precision.cpu_capabilities() or not precision.cpu_capabilities()


@pytest.mark.parametrize("supported", [True, False])
def test_capabilities_of_torch_before_2_11(monkeypatch, supported):
    monkeypatch.delattr(precision.torch.cpu, "get_capabilities", raising=False)
    for name, value in (
        ("_is_amx_tile_supported", False),
        ("_is_avx512_bf16_supported", supported),
    ):
        monkeypatch.setattr(precision.torch.cpu, name, lambda value=value: value)
    expected = "bfloat16" if supported else "float32"
    assert precision.choose_precision("auto", "cpu").dtype == expected


@pytest.mark.parametrize(
    ("requested", "device", "dtype"),
    [
        ("fp32", "cpu", "float32"),
        ("fp32", "cuda", "float32"),
        ("bf16", "cpu", "bfloat16"),
        ("bf16", "cuda", "bfloat16"),
        ("fp16", "cuda", "float16"),
    ],
)
def test_explicit_precision(requested, device, dtype, monkeypatch):
    stub_torch(monkeypatch, A100)
    assert choose_precision(requested, device).dtype == dtype


def test_fp16_on_cpu_is_refused():
    with pytest.raises(
        UserError, match=r"fp16 was asked for on a CPU.*use --precision bf16 or auto"
    ):
        choose_precision("fp16", "cpu")


def test_emulated_bf16_is_refused(monkeypatch):
    stub_torch(monkeypatch, ("Tesla T4", (7, 5)))
    with pytest.raises(
        UserError, match=r"bf16 was asked for on a GPU of.*below 8\.0.*use --precision fp16 or auto"
    ):
        choose_precision("bf16", "cuda")
    assert choose_precision("auto", "cuda").dtype == "float16"


def test_unknown_precision():
    with pytest.raises(UserError, match="unknown precision 'bf6'; did you mean 'bf16'"):
        choose_precision("bf6", "cpu")


def _wrapper(layer, **extra):
    config = choose_precision("bf16", "cpu").optim_wrapper()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5, momentum=0.9)
    built = OPTIM_WRAPPERS.build(dict(**config, optimizer=optimizer, **extra))
    assert isinstance(built, AutocastOptimWrapper)
    return built


def test_autocast_covers_forward_only():
    torch.manual_seed(0)
    layer = nn.Linear(4, 3)
    wrapper = _wrapper(layer)
    inputs = torch.randn(2, 4)
    with wrapper.optim_context(layer):
        outputs = layer(inputs)
        assert outputs.dtype == torch.bfloat16
        loss = outputs.float().square().mean()
    assert layer(inputs).dtype == torch.float32
    wrapper.update_params(loss)
    state = wrapper.optimizer.state[layer.weight]["momentum_buffer"]
    kept = [layer.weight, layer.bias, state]
    assert {tensor.dtype for tensor in kept} == {torch.float32}


def test_gradients_are_float32():
    layer = nn.Linear(4, 3)
    wrapper = _wrapper(layer, accumulative_counts=2)
    with wrapper.optim_context(layer):
        loss = layer(torch.ones(2, 4)).float().sum()
    wrapper.update_params(loss)  # the first of two: gradients stay
    assert layer.weight.grad.dtype == torch.float32


def test_accumulated_batches_step_with_mean():
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    wrapper = _wrapper(layer, accumulative_counts=2)
    for batch, expected in (([2.0, 0.0], [1.0, 1.0]), ([0.0, 4.0], [0.5, 0.0])):
        with wrapper.optim_context(layer):
            loss = layer(torch.tensor([batch])).float().sum()
        wrapper.update_params(loss)
        # d loss / d w is the batch; the step is the mean of both, (1, 2), times lr 0.5.
        assert layer.weight[0].tolist() == expected


def test_gradients_are_clipped_to_the_norm():
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
    wrapper = _wrapper(layer, clip_grad=dict(max_norm=1.0))
    with wrapper.optim_context(layer):
        loss = layer(torch.tensor([[3.0, 4.0]])).float().sum()
    wrapper.update_params(loss)
    # The gradient (3, 4) of norm 5 becomes (0.6, 0.8), times lr 0.5.
    assert layer.weight[0].tolist() == pytest.approx([-0.3, -0.4], abs=1e-5)


def test_tf32_needs_ampere(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 6))
    chosen = choose_precision("tf32", "cuda")
    assert (chosen.dtype, chosen.mixed) == ("tf32", False)
    assert chosen.optim_wrapper() == dict(type="OptimWrapper")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (7, 5))
    with pytest.raises(UserError, match=r"tf32 was asked for on a GPU of compute capability 7\.5,"):
        choose_precision("tf32", "cuda")
    monkeypatch.setattr(torch.version, "hip", "6.4")
    with pytest.raises(UserError, match="tf32 was asked for on an AMD GPU,"):
        choose_precision("tf32", "cuda")
    with pytest.raises(UserError, match=r"tf32 was asked for on a CPU, .*; use --precision fp32"):
        choose_precision("tf32", "cpu")
