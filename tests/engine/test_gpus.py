"""The GPUs that torch can use, and the reasons if it can use none."""

from types import SimpleNamespace

import pytest
import torch
from support.gpus import A100, listing, stub_nvidia_smi_answers, stub_torch

from engine.gpus import (
    arch_supported,
    check_architecture,
    chosen_ids,
    hidden_by,
    list_gpus,
    unusable,
    visible_variable,
)
from engine.hardware import AMD, NVIDIA, Card, Hardware, find_hardware, parse_nvidia_smi

NO_MIG = Hardware(NVIDIA, (Card(A100[0]),) * 2)


def test_gpus_by_index(monkeypatch):
    stub_torch(monkeypatch, *[A100] * 8)
    gpus = list_gpus(NO_MIG)
    assert [gpu.id for gpu in gpus] == [str(index) for index in range(8)]
    assert (gpus[3].name, gpus[3].capability, gpus[3].total_memory) == (*A100, 80 * 2**30)
    assert all(gpu.arch_supported and gpu.left_out is None for gpu in gpus)
    # Without nvidia-smi, torch alone knows them.
    assert list_gpus(Hardware()) == gpus


def test_gpus_of_the_environment(monkeypatch):
    stub_torch(monkeypatch, A100, A100)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-7f3e")
    assert [gpu.id for gpu in list_gpus(NO_MIG)] == ["5", "GPU-7f3e"]


@pytest.mark.parametrize(
    ("chosen", "ids"),
    [
        (None, ["MIG-00000000-bbbb", "MIG-01000000-bbbb", "GPU-10000000-aaaa"]),
        ("0", ["MIG-00000000-bbbb", "MIG-01000000-bbbb"]),
        ("1", ["GPU-10000000-aaaa"]),
        ("MIG-01000000-bbbb,MIG-00000000-bbbb", ["MIG-01000000-bbbb", "MIG-00000000-bbbb"]),
        ("GPU-1", ["GPU-10000000-aaaa"]),
    ],
)
def test_mig_instances_are_used_one_by_one(monkeypatch, chosen, ids):
    # torch shows one instance, whatever there is.
    stub_torch(monkeypatch, ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", (8, 0)))
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    gpus = list_gpus(Hardware(NVIDIA, parse_nvidia_smi(listing(2, 0))))
    assert [gpu.id for gpu in gpus] == ids
    if chosen is None:
        assert gpus[0].name == "NVIDIA A100-SXM4-80GB 3g.40gb"


def test_mig_instances_of_unequal_cards(monkeypatch, tmp_path):
    """torch shows the capability of one instance only; the driver knows that of each card."""
    stub_torch(monkeypatch, ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", (8, 0)))
    capabilities = "GPU-00000000-aaaa, 8.0\nGPU-10000000-aaaa, 7.5\nGPU-20000000-aaaa, 9.0\n"
    answers = {"-L": listing(2, 0, 1), "--query-gpu=uuid,compute_cap": capabilities}
    stub_nvidia_smi_answers(monkeypatch, tmp_path, answers)
    gpus = list_gpus(find_hardware(tmp_path))
    assert [(gpu.id[:5], gpu.capability) for gpu in gpus] == [
        ("MIG-0", (8, 0)),
        ("MIG-0", (8, 0)),
        ("GPU-1", (7, 5)),
        ("MIG-2", (9, 0)),
    ]
    reason = "GPU MIG-00000000-bbbb (NVIDIA A100-SXM4-80GB 3g.40gb) has another number format"
    assert [gpu.left_out for gpu in gpus] == [None, None, reason, None]
    # An old driver does not know the question, and nothing is left out.
    stub_nvidia_smi_answers(monkeypatch, tmp_path, {"-L": listing(2, 0, 1)})
    assert {gpu.left_out for gpu in list_gpus(find_hardware(tmp_path))} == {None}


def test_gpus_by_the_names_of_the_driver(monkeypatch):
    """The order of CUDA may be another one than the driver's."""
    stub_torch(monkeypatch, A100, A100)
    known = torch.cuda.get_device_properties
    uuids = ("aa-11", "bb-22")
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda index: SimpleNamespace(**vars(known(index)), uuid=uuids[index]),
    )
    assert [gpu.uuid for gpu in list_gpus(NO_MIG)] == ["GPU-aa-11", "GPU-bb-22"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-5,1")
    assert [gpu.uuid for gpu in list_gpus(NO_MIG)] == ["MIG-5", "GPU-bb-22"]
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert list_gpus(NO_MIG)[1].uuid is None


def test_rocm(monkeypatch):
    stub_torch(monkeypatch, ("MI300X", (9, 4)), cuda=None, hip="6.4", architectures="gfx942")
    assert visible_variable() == "HIP_VISIBLE_DEVICES"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert chosen_ids() == ("1",)
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "6")
    (gpu,) = list_gpus(Hardware(AMD, (Card("AMD gfx942"),) * 8))
    assert (gpu.id, gpu.arch_supported) == ("6", True)
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "")
    assert hidden_by() == "ROCR_VISIBLE_DEVICES=''"


@pytest.mark.parametrize(
    ("value", "hidden"),
    [("", True), ("-1", True), ("NoDevFiles", True), ("0,-1", False), ("63", False), (None, False)],
)
def test_hidden_gpus(monkeypatch, value, hidden):
    stub_torch(monkeypatch)
    if value is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert hidden_by() == (f"CUDA_VISIBLE_DEVICES={value!r}" if hidden else None)


def test_unequal_gpus_are_left_out(monkeypatch):
    stub_torch(monkeypatch, A100, ("NVIDIA T4", (7, 5)), ("NVIDIA V100", (7, 0)), ("H100", (9, 0)))
    reasons = [gpu.left_out for gpu in list_gpus(NO_MIG)]
    assert reasons[0] is reasons[3] is None
    assert reasons[1] == "GPU 0 (NVIDIA A100-SXM4-80GB) has another number format"
    assert reasons[2] == "torch 2.14.1+cu130 has no kernels for it"


@pytest.mark.parametrize(
    ("architectures", "capability", "supported"),
    [
        ("sm_75 sm_80 sm_86", (7, 0), False),
        ("sm_75 sm_80 sm_86", (7, 5), True),
        ("sm_75 sm_80 sm_86", (8, 9), True),
        ("sm_75 sm_80 sm_86", (9, 0), False),
        ("sm_80 compute_80", (9, 0), True),
        ("sm_90a", (9, 0), True),
        ("sm_100a", (10, 3), False),
        ("sm_100f", (10, 3), True),
        ("sm_100 sm_120", (12, 1), True),
        ("", (7, 0), True),
    ],
)
def test_kernels(monkeypatch, architectures, capability, supported):
    stub_torch(monkeypatch, architectures=architectures)
    assert arch_supported(capability) == supported


def test_message_on_old_gpu_names_another(monkeypatch):
    stub_torch(monkeypatch, ("Tesla V100", (7, 0)), A100)
    assert check_architecture(1) is None
    message = check_architecture(0)
    assert message is not None
    assert message.startswith("Tesla V100 has compute capability 7.0, for which torch 2.14.1+cu130")
    for way in ("CUDA_VISIBLE_DEVICES=1", "install a build of torch", "--device cpu"):
        assert way in message


DRIVERS = [
    ("535.129.03", "CUDA 13.0 needs driver 580 or newer", "install a build of torch for CUDA 12"),
    ("470.82.01", "CUDA 13.0 needs driver 580 or newer", "update the driver, or train on the CPU"),
    ("580.65.06", "CUDA reports ", "repair the driver"),
    (None, "CUDA reports ", "repair the driver"),
]


@pytest.mark.parametrize(("driver", "reason", "way"), DRIVERS)
def test_driver_and_ways_out(monkeypatch, driver, reason, way):
    stub_torch(monkeypatch)
    message = unusable(Hardware(NVIDIA, (Card(A100[0]),) * 8, driver))
    named = f"{A100[0]}, driver {driver}" if driver else A100[0]
    start = f"8 GPUs are present ({named}), but torch 2.14.1+cu130 cannot use them: "
    assert message.startswith(start + reason)
    assert way in message and message.endswith(", or train on the CPU with --device cpu")


@pytest.mark.parametrize(
    ("vendor", "build", "reason", "way"),
    [
        (NVIDIA, dict(cuda=None), "it is a build for CPUs", "for CUDA (docs/install.md"),
        (AMD, dict(cuda=None), "it is a build for CPUs", "for ROCm (docs/install.md"),
        (AMD, {}, "it is a build for CUDA 13.0", "for ROCm"),
        (NVIDIA, dict(cuda=None, hip="6.4"), "it is a build for ROCm 6.4", "for CUDA"),
    ],
)
def test_build_for_another_device(monkeypatch, vendor, build, reason, way):
    stub_torch(monkeypatch, **build)
    message = unusable(Hardware(vendor, (Card("Card"),)))
    assert f"1 GPU is present (Card), but torch 2.14.1+cu130 cannot use it: {reason}" in message
    assert way in message and "--device cpu" in message


def test_wrong_choice_and_missing_grant(monkeypatch):
    stub_torch(monkeypatch)
    cards = (Card("Card"),) * 2
    message = unusable(Hardware(NVIDIA, cards, "580.65.06", granted=False))
    assert "this process was given none of them" in message and "--gpus all" in message
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "63")
    assert "CUDA_VISIBLE_DEVICES=63 names none of them" in unusable(Hardware(NVIDIA, cards))
