"""What `torch.cuda` says of one pretended GPU."""

import time
from types import SimpleNamespace

import torch

GIB = 2**30
PROPERTIES = SimpleNamespace(
    name="Pretended GPU",
    major=8,
    minor=0,
    total_memory=40 * GIB,
    multi_processor_count=108,
    is_integrated=False,
)


class Event:
    """A time on the clock of the host."""

    def __init__(self, enable_timing=False, **_):
        self.seconds = None

    def record(self, stream=None):
        self.seconds = time.perf_counter()

    def elapsed_time(self, end):
        return 1e3 * (end.seconds - self.seconds)

    def synchronize(self):
        pass

    def query(self):
        return True


def _nothing(*_, **__):
    pass


STUBS = {
    "Event": Event,
    "_lazy_init": _nothing,
    "_lazy_call": _nothing,
    "current_device": lambda: 0,
    "device_count": lambda: 1,
    "empty_cache": _nothing,
    "get_arch_list": lambda: ["sm_75", "sm_80"],
    "get_device_capability": lambda device=None: (PROPERTIES.major, PROPERTIES.minor),
    "get_device_name": lambda device=None: PROPERTIES.name,
    "get_device_properties": lambda device=None: PROPERTIES,
    "get_rng_state": lambda device="cuda": torch.get_rng_state(),
    "get_rng_state_all": lambda: [torch.get_rng_state()],
    "is_available": lambda: True,
    "is_bf16_supported": lambda including_emulation=True: True,
    "is_current_stream_capturing": lambda: False,
    "max_memory_allocated": lambda device=None: 3 * 2**20,
    "max_memory_reserved": lambda device=None: 4 * 2**20,
    "mem_get_info": lambda device=None: (39 * GIB, PROPERTIES.total_memory),
    "memory_allocated": lambda device=None: 2**20,
    "memory_reserved": lambda device=None: 4 * 2**20,
    "reset_peak_memory_stats": _nothing,
    "set_device": _nothing,
    "set_rng_state": lambda state, device="cuda": torch.set_rng_state(state),
    "set_rng_state_all": lambda states: torch.set_rng_state(states[0]),
    "synchronize": _nothing,
}
