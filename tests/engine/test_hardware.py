"""The GPUs that are present, by nvidia-smi and by the kernel's files."""

import pytest
from support.gpus import A100, amd_files, listing, nvidia_files, stub_nvidia_smi, write_files

from engine import hardware
from engine.gpus import unusable
from engine.hardware import Card, Hardware, Instance, find_hardware


def test_eight_gpus(monkeypatch, tmp_path):
    stub_nvidia_smi(monkeypatch, tmp_path, listing(*[0] * 8))
    found = find_hardware(write_files(tmp_path, nvidia_files(8)))
    assert (found.vendor, len(found.cards), found.driver) == ("NVIDIA", 8, "535.129.03")
    assert found.cards[7] == Card(A100[0], "GPU-70000000-aaaa")
    assert found.granted


def test_mig_instances_belong_to_their_gpu(monkeypatch, tmp_path):
    stub_nvidia_smi(monkeypatch, tmp_path, listing(2, 0, 1))
    cards = find_hardware(tmp_path).cards
    assert [len(card.instances) for card in cards] == [2, 0, 1]
    assert cards[2].instances == (Instance("MIG-20000000-bbbb", "3g.40gb"),)


@pytest.mark.parametrize("text", ["NVIDIA-SMI has failed because it could not talk\n", None])
def test_kernel_files_without_nvidia_smi(monkeypatch, tmp_path, text):
    stub_nvidia_smi(monkeypatch, tmp_path, text, status=9)
    assert find_hardware(tmp_path) == Hardware()
    found = find_hardware(write_files(tmp_path, nvidia_files(2)))
    assert found.cards == tuple(Card(A100[0], f"GPU-{i}0000000-aaaa") for i in range(2))
    assert (found.driver, found.granted) == ("535.129.03", True)


def test_device_files_alone(monkeypatch, tmp_path):
    stub_nvidia_smi(monkeypatch, tmp_path, None)
    root = write_files(tmp_path, {"dev/nvidia0": "", "dev/nvidia1": "", "dev/nvidiactl": ""})
    assert find_hardware(root).cards == (Card("NVIDIA GPU"),) * 2


def test_container_without_its_hosts_gpus(monkeypatch, tmp_path):
    stub_nvidia_smi(monkeypatch, tmp_path, None)
    found = find_hardware(write_files(tmp_path, nvidia_files(2, granted=False)))
    assert len(found.cards) == 2 and not found.granted


def test_open_kernel_module_and_windows(monkeypatch, tmp_path):
    stub_nvidia_smi(monkeypatch, tmp_path, listing(0))
    text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release Build\n"
    root = write_files(tmp_path, {"proc/driver/nvidia/version": text})
    assert find_hardware(root).driver == "570.86.10"
    # Under WSL there is no kernel module, and nvidia-smi alone knows the version.
    monkeypatch.setattr(hardware, "_ask_nvidia_smi", lambda: (Card("RTX"),))
    stub_nvidia_smi(monkeypatch, tmp_path, "581.42\n")
    assert find_hardware(tmp_path / "empty").driver == "581.42"


def test_hanging_nvidia_smi(monkeypatch, tmp_path):
    stub_nvidia_smi(monkeypatch, tmp_path, "")
    (tmp_path / "tools" / "nvidia-smi").write_text("#!/bin/sh\nwhile :; do :; done\n")
    monkeypatch.setattr("contract.machine.SMI_SECONDS", 0.2)
    assert find_hardware(tmp_path) == Hardware()


def test_nvidia_smi_that_prints_no_text(monkeypatch, tmp_path):
    stub_nvidia_smi(monkeypatch, tmp_path, "")
    (tmp_path / "tools" / "nvidia-smi").write_text("#!/bin/sh\nprintf '\\377\\n'\n")
    assert find_hardware(tmp_path) == Hardware()


def test_amd(monkeypatch, tmp_path):
    stub_nvidia_smi(monkeypatch, tmp_path, None)
    # The graphics unit of a processor is not a card to train on.
    assert find_hardware(write_files(tmp_path / "laptop", amd_files(0.5))) == Hardware()
    found = find_hardware(write_files(tmp_path / "server", amd_files(192, 192)))
    assert found == Hardware("AMD", (Card("AMD gfx942"),) * 2, "6.10.5")


def test_gpu_on_the_bus_without_a_driver(tmp_path, monkeypatch):
    """A card is found by its PCI class; its sound controller is not one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, vendor, kind in (
        ("0000:00:02.0", "0x8086", "0x030000"),
        ("0000:3b:00.0", "0x10de", "0x030200"),
        ("0000:3b:00.1", "0x10de", "0x040300"),
    ):
        folder = tmp_path / "sys/bus/pci/devices" / name
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(vendor + "\n")
        (folder / "class").write_text(kind + "\n")
    found = find_hardware(tmp_path)
    assert found.cards == (Card("NVIDIA GPU at 0000:3b:00.0"),)
    assert not found.loaded
    assert "the NVIDIA driver is not loaded; install or repair the driver" in unusable(found)
