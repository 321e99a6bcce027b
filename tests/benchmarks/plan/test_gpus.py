"""GPUs that other processes occupy, and those that `--gpus` names."""

from __future__ import annotations

import pytest
from support.gpus import listing, stub_nvidia_smi_answers, write_files

from benchmarks.plan.compute import Compute, Gpu
from benchmarks.plan.gpus import Use, Watch, ask_use, check_processes, choose_gpus
from benchmarks.suite.select import Selection
from contract.errors import UserError

GIB = 1024**3
# As the driver writes it (535 and later), without the elements that nobody reads.
CARD = """<gpu id="00000000:0{index}:00.0"><mig_devices>{parts}</mig_devices><uuid>GPU-{index}0000000-aaaa</uuid>
<fb_memory_usage><total>81920 MiB</total><reserved>869 MiB</reserved><used>{used} MiB</used></fb_memory_usage>
<bar1_memory_usage><total>131072 MiB</total><used>131000 MiB</used></bar1_memory_usage>
<utilization><gpu_util>{percent}</gpu_util><memory_util>99 %</memory_util></utilization></gpu>"""
PART = """<mig_device><index>{index}</index><gpu_instance_id>{number}</gpu_instance_id>
<fb_memory_usage><total>40192 MiB</total><used>{used} MiB</used></fb_memory_usage></mig_device>"""


def log(*cards: str) -> str:
    return f'<?xml version="1.0" ?><nvidia_smi_log>{"".join(cards)}</nvidia_smi_log>\n'


def card(index: int, used: int, percent: str = "0 %", parts: str = "") -> str:
    return CARD.format(index=index, used=used, percent=percent, parts=parts)


def test_memory_and_computing_of_others(monkeypatch, tmp_path):
    cards = card(0, 500), card(1, 62464), card(2, 900, "97 %")
    stub_nvidia_smi_answers(monkeypatch, tmp_path, {"-q": log(*cards)})
    found = ask_use()
    assert {name: use.reason for name, use in found.items()} == {
        "0": None,
        "GPU-00000000-aaaa": None,
        "1": "61 of 80 GiB used by other processes",
        "GPU-10000000-aaaa": "61 of 80 GiB used by other processes",
        "2": "other processes compute on it (97%)",
        "GPU-20000000-aaaa": "other processes compute on it (97%)",
    }


def test_mig_instances_are_judged_one_by_one(monkeypatch, tmp_path):
    # The driver lists them by number, which `nvidia-smi -L` calls the device.
    parts = PART.format(index=1, number=2, used=20000) + PART.format(index=0, number=3, used=12)
    answers = {"-q": log(card(0, 20050, "N/A", parts)), "-L": listing(2)}
    stub_nvidia_smi_answers(monkeypatch, tmp_path, answers)
    found = ask_use()
    assert found["MIG-00000000-bbbb"].reason is None
    assert found["MIG-01000000-bbbb"].reason == "20 of 39 GiB used by other processes"


@pytest.mark.parametrize("text", ["", "Failed to initialize NVML\n", "<nvidia_smi_log>"])
def test_no_answer_leaves_no_gpu_out(monkeypatch, tmp_path, text):
    stub_nvidia_smi_answers(monkeypatch, tmp_path, {"-q": text})
    assert ask_use(tmp_path) == {}
    assert Watch([Gpu("0", "A100")], lambda: ask_use(tmp_path)).occupied(["0"]) == {}


def test_amd_by_the_files_of_the_kernel(monkeypatch, tmp_path):
    stub_nvidia_smi_answers(monkeypatch, tmp_path, {})
    nodes, cards = "sys/class/kfd/kfd/topology/nodes", "sys/class/drm"
    files = {f"{nodes}/0/properties": "simd_count 0\ndrm_render_minor 0\n"}
    # Node 10 comes after node 9.
    for node, used in ((9, 50), (10, 1)):
        files[f"{nodes}/{node}/properties"] = f"simd_count 1216\ndrm_render_minor {128 + node}\n"
        device = f"{cards}/renderD{128 + node}/device"
        files[f"{device}/mem_info_vram_used"] = f"{used * GIB}\n"
        files[f"{device}/mem_info_vram_total"] = f"{192 * GIB}\n"
        files[f"{device}/gpu_busy_percent"] = "3\n"
    root = write_files(tmp_path, files)
    monkeypatch.delenv("ROCR_VISIBLE_DEVICES", raising=False)
    assert ask_use(root) == {
        "0": Use(50 * GIB, 192 * GIB, 3),
        "1": Use(1 * GIB, 192 * GIB, 3),
    }
    assert ask_use(root)["0"].reason == "50 of 192 GiB used by other processes"
    # It renumbers the GPUs.
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "1")
    assert ask_use(root) == {}


def test_a_desktop_does_not_occupy_a_small_card():
    assert Use(1.2 * GIB, 8 * GIB, 20).reason is None
    assert Use(2 * GIB, 8 * GIB, 20).reason == "2 of 8 GiB used by other processes"


class Machine:
    """A clock that a test sets, and GPUs whose use it sets."""

    def __init__(self, **used: float) -> None:
        self.now, self.asked = 0.0, 0
        self.used = used

    def ask(self) -> dict[str, Use]:
        self.asked += 1
        return {name: Use(used * GIB, 80 * GIB) for name, used in self.used.items()}

    def watch(self, *gpus: Gpu) -> Watch:
        return Watch(gpus, self.ask, lambda: self.now)


def test_an_answer_holds_for_some_seconds():
    machine = Machine(a=0, b=0)
    watch = machine.watch(Gpu("0", "A100", uuid="a"), Gpu("1", "A100", uuid="b"))
    assert watch.occupied(["0", "1"]) == {}
    machine.used["b"] = 61
    assert watch.occupied(["0", "1"]) == {}
    machine.now = 11
    assert watch.occupied(["0", "1"]) == {"1": "61 of 80 GiB used by other processes"}
    machine.used["b"] = 0
    assert watch.occupied(["1"]) != {}
    machine.now = 15
    assert watch.occupied(["1"]) == {}
    assert machine.asked == 3
    # Nothing can be said about GPUs with a run of our own, so nothing is asked.
    machine.now = 100
    assert watch.occupied([]) == {}
    assert machine.asked == 3


def test_a_run_that_has_just_ended_is_no_news():
    """The driver may need a moment to free its memory."""
    machine = Machine(a=61)
    watch = machine.watch(Gpu("0", "A100", uuid="a"))
    watch.forget()
    assert watch.occupied(["0"]) != {} and not watch.is_news("0")
    machine.now = 4
    assert watch.occupied(["0"]) != {} and watch.is_news("0")
    assert not watch.is_news("0")
    # Free for a while, and then occupied again.
    messages = []
    for machine.now, machine.used["a"] in ((8, 0), (20, 61), (24, 61), (28, 61)):
        watch.occupied(["0"])
        messages.append(watch.is_news("0"))
    assert messages == [False, False, True, False]


COMPUTE = Compute(
    "cuda",
    gpus=(
        Gpu("0", "A100", uuid="GPU-aa11"),
        Gpu("2", "A100", uuid="GPU-bb22"),
        Gpu("3", "T4", "GPU 0 (A100) has another number format", "GPU-cc33"),
    ),
)


def test_named_gpus():
    assert choose_gpus(COMPUTE, None) == ("0", "2")
    assert choose_gpus(COMPUTE, ("2", "GPU-aa", "2")) == ("2", "0")


@pytest.mark.parametrize(
    ("compute", "name", "message"),
    [
        (COMPUTE, "1", r"--gpus 1 was given; the GPUs of this machine are 0 \(A100\), 2 \(A100\), 3 \(T4\)"),
        (COMPUTE, "GPU-", r"--gpus GPU- was given; the GPUs"),
        (COMPUTE, "3", r"GPU 3 cannot be used: GPU 0 \(A100\) has another number format\. .*CUDA_VISIBLE_DEVICES"),
        (Compute("cpu", reason="no GPU"), "0", r"runs train on the CPU \(no GPU\); leave it out"),
    ],
)  # fmt: skip
def test_gpus_that_cannot_be_named(compute, name, message):
    with pytest.raises(UserError, match=message):
        choose_gpus(compute, (name,))


def test_a_run_on_several_gpus_needs_whole_ones():
    """NCCL cannot join MIG instances."""
    check_processes(COMPUTE, ("0", "2"), Selection(processes=2))
    gpus = ("GPU-1", "MIG-2", "MIG-3")
    check_processes(COMPUTE, gpus, Selection())
    for selection in (Selection(processes=2), Selection(teacher_processes=2)):
        with pytest.raises(
            UserError, match=r"--gpus-per-run 2 was .* 1 whole GPU\(s\) and 2 MIG instances, which"
        ):
            check_processes(COMPUTE, gpus, selection)


def test_a_cpu_has_no_gpus_to_share():
    compute = Compute("cpu", reason="this machine shows no GPU")
    with pytest.raises(UserError, match=r"runs train on the CPU \(this machine shows no GPU\)"):
        check_processes(compute, (), Selection(processes=2))
    check_processes(compute, (), Selection(processes=2, gloo=True))
