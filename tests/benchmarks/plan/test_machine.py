"""How many runs the machine takes at a time."""

from benchmarks.plan import machine
from benchmarks.plan.machine import choose_slots


def slots(monkeypatch, cores, memory_gib, gpus=(), jobs=None):
    monkeypatch.setattr(machine, "cpu_cores", lambda: cores)
    monkeypatch.setattr(machine, "memory_bytes", lambda: memory_gib * 1024**3)
    chosen = choose_slots(jobs, gpus)
    return chosen.jobs, chosen.threads


def test_slots(monkeypatch):
    assert slots(monkeypatch, 1, 8) == (1, 1)
    assert slots(monkeypatch, 2, 8) == (2, 1)
    assert slots(monkeypatch, 2, 4) == (1, 2)
    assert slots(monkeypatch, 16, 64) == (8, 2)
    assert slots(monkeypatch, 16, 64, ("0", "1")) == (2, 8)
    assert slots(monkeypatch, 4, 8, jobs=4) == (4, 1)


def test_cores_of_a_slurm_job(monkeypatch):
    cores = machine.cpu_cores()
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
    assert machine.cpu_cores() == 1
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "4096")
    assert machine.cpu_cores() == cores
