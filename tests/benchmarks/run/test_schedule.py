"""The order of runs and their GPUs, on a simulated clock."""

from __future__ import annotations

import heapq
import itertools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks.plan.compute import Gpu
from benchmarks.plan.gpus import Use, Watch
from benchmarks.plan.machine import Slots, choose_slots
from benchmarks.plan.plan import CACHED, RUN, Plan
from benchmarks.plan.store import RunKey
from benchmarks.run.gpu_locks import GpuLocks
from benchmarks.run.schedule import Schedule, longest_chains, with_guesses
from benchmarks.scripts.placement import hours_of, make, simulate

GIB = 1024**3


@pytest.fixture(autouse=True)
def own_locks(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def make_plan(*chains: tuple[str, ...], processes: Mapping[str, int] | None = None) -> Plan:
    """Make runs named `row task`; each needs the run before it in its chain."""
    names: dict[str, str | None] = {}
    for chain in chains:
        for before, name in itertools.pairwise((None, *chain)):
            names.setdefault(cast(str, name), before)
    # As in a real plan: teachers, classifiers, and then the others, task by task.
    rank = {"teacher": 0, "cls": 1, "det": 2, "seg": 3, "probe": 4}
    runs = [
        SimpleNamespace(
            key=key(name),
            needs=None if before is None else key(before),
            processes=(processes or {}).get(name, 1),
            state=RUN,
        )
        for name, before in sorted(names.items(), key=lambda item: rank[item[0].split()[1]])
    ]
    return cast(Plan, SimpleNamespace(runs=runs, wanted=runs))


def key(name: str) -> RunKey:
    row, task = name.split()
    return RunKey(row, "cls" if task == "teacher" else task, 0)


def name_of(run: Any) -> str:
    return f"{run.key.row} {run.key.task}"


@dataclass
class Simulation:
    """Drives a schedule by a simulated clock.

    Attributes:
        starts: Name, start and GPUs of each run, in order.
    """

    plan: Plan
    seconds: Mapping[RunKey, float]
    slots: Slots
    watch: Watch | None = None
    starts: list[tuple[str, float, tuple[str, ...]]] = field(default_factory=list)

    def run(self) -> float:
        end, starts = simulate(self.plan, self.seconds, self.slots, watch=self.watch)
        self.starts = [(f"{run.row} {run.task}", start, gpus) for run, start, gpus in starts]
        return end


def shortest(plan: Plan, seconds: Mapping[RunKey, float], machines: int) -> float:
    """Return the best makespan of all orders, by trying each."""
    runs = plan.wanted
    best = float("inf")
    for order in itertools.permutations(runs):
        free, ended = [0.0] * machines, {}
        for run in order:
            if run.needs is not None and run.needs not in ended:
                break
            start = max(heapq.heappop(free), ended.get(run.needs, 0.0))
            ended[run.key] = start + seconds[run.key]
            heapq.heappush(free, ended[run.key])
        else:
            best = min(best, max(ended.values()))
    return best


GPUS = ("0", "1", "2", "3")


def slots(gpus: int, jobs: int | None = None, processes: int = 1) -> Slots:
    return choose_slots(jobs, GPUS[:gpus], processes)


CHAINS = (("T teacher", "S cls", "S seg"), ("A cls", "A det"), ("B cls", "B seg"))


@pytest.mark.parametrize("gpus", [1, 2, 3])
@pytest.mark.parametrize(
    "times", [(6, 4, 3, 2, 5, 2, 3), (1, 1, 1, 5, 1, 5, 1), (3, 2, 2, 3, 1, 1, 4)]
)
def test_makespan_is_that_of_the_best_order(gpus, times):
    plan = make_plan(*CHAINS)
    names = ("T teacher", "S cls", "S seg", "A cls", "A det", "B cls", "B seg")
    seconds = {key(name): float(time) for name, time in zip(names, times, strict=True)}
    found = Simulation(plan, seconds, slots(gpus)).run()
    assert found == shortest(plan, seconds, gpus)


def test_plans_order_would_be_later():
    """The long chain stands last in the plan: its classifier would wait for the others."""
    plan = make_plan(("A cls",), ("B cls",), ("C cls", "C det"))
    seconds = {run.key: 2.0 for run in plan.runs}
    simulation = Simulation(plan, seconds, slots(2))
    assert simulation.run() == 4.0
    assert [start[:2] for start in simulation.starts] == [
        ("C cls", 0.0),
        ("A cls", 0.0),
        ("B cls", 2.0),
        ("C det", 2.0),
    ]


def test_longest_run_is_not_left_for_the_end():
    """Of the tasks of the mini suite, detection takes longest, and a classifier keeps others waiting."""
    plan = make_plan(("A cls", "A det"), ("A cls", "A seg"), ("0 det",), ("0 seg",))
    times = {"A cls": 4, "A det": 6, "A seg": 3, "0 det": 6, "0 seg": 3}
    seconds = {key(name): float(time) for name, time in times.items()}
    simulation = Simulation(plan, seconds, slots(2))
    assert simulation.run() == shortest(plan, seconds, 2) == 12.0
    names = [start[0] for start in simulation.starts]
    assert names == ["A cls", "0 det", "A det", "A seg", "0 seg"]


def test_equal_estimates_keep_the_order_of_the_plan():
    plan = make_plan(("A cls", "A det"), ("B cls", "B det"), ("A cls", "A seg"), ("0 det",))
    schedule = Schedule(plan, slots(1), dict.fromkeys((run.key for run in plan.runs), 1.0))
    order = [name_of(run) for run in schedule.order(list(reversed(plan.runs)))]
    assert order == [name_of(run) for run in plan.runs]


@pytest.mark.parametrize(("det", "seg"), [(5.0, 2.0), (2.0, 5.0)])
def test_a_chain_goes_on_with_the_longest_of_its_runs(det, seg):
    plan = make_plan(("A cls", "A det"), ("A cls", "A seg"))
    chains = longest_chains(plan, {key("A cls"): 1.0, key("A det"): det, key("A seg"): seg})
    assert chains == {key("A cls"): 6.0, key("A det"): det, key("A seg"): seg}


def test_teacher_on_all_gpus_first_then_one_each():
    chains = [("T teacher", "S cls"), *((f"{row} cls",) for row in "ABCD")]
    plan = make_plan(*chains, processes={"T teacher": 4})
    seconds = {run.key: 3.0 for run in plan.runs}
    simulation = Simulation(plan, seconds, slots(4))
    assert simulation.run() == 9.0
    assert simulation.starts[0] == ("T cls", 0.0, GPUS)
    assert simulation.starts[1] == ("S cls", 3.0, ("0",))
    assert {gpus for _, start, gpus in simulation.starts if start == 3.0} == {(g,) for g in GPUS}


def test_all_teachers_come_before_the_students_of_the_first():
    """Otherwise three GPUs would wait until the first student has ended."""
    plan = make_plan(
        ("T teacher", "S cls"), ("U teacher", "V cls"), processes={"T teacher": 4, "U teacher": 4}
    )
    seconds = {key("T teacher"): 3.0, key("S cls"): 9.0, key("U teacher"): 2.0, key("V cls"): 5.0}
    simulation = Simulation(plan, seconds, slots(4))
    assert simulation.run() == 14.0
    assert [start[:2] for start in simulation.starts] == [
        ("T cls", 0.0),
        ("U cls", 3.0),
        ("S cls", 5.0),
        ("V cls", 5.0),
    ]


def test_short_runs_do_not_take_the_gpus_of_a_waiting_large_one():
    """Its own teacher keeps the large run from being the first."""
    plan = make_plan(("T teacher", "B cls"), ("A cls",), ("C cls",), processes={"B cls": 2})
    seconds = {key("T teacher"): 1.0, key("B cls"): 4.0, key("A cls"): 5.0, key("C cls"): 3.0}
    simulation = Simulation(plan, seconds, slots(2))
    simulation.run()
    assert simulation.starts == [
        ("T cls", 0.0, ("0",)),
        ("A cls", 0.0, ("1",)),
        ("B cls", 5.0, ("0", "1")),
        ("C cls", 9.0, ("0",)),
    ]


def occupied(*gpus: str) -> Watch:
    """Other processes occupy these GPUs, all the time."""
    use = {gpu: Use(61 * GIB if gpu in gpus else 0, 80 * GIB) for gpu in GPUS}
    return Watch([Gpu(gpu, "A100") for gpu in GPUS], lambda: use)


def test_occupied_gpus_get_no_run():
    plan = make_plan(("A cls",), ("B cls",), ("C cls",))
    simulation = Simulation(plan, {r.key: 2.0 for r in plan.runs}, slots(3), occupied("1"))
    assert simulation.run() == 4.0
    assert [start[1:] for start in simulation.starts] == [
        (0.0, ("0",)),
        (0.0, ("2",)),
        (2.0, ("0",)),
    ]


def test_runs_go_on_beside_one_that_waits_for_others_to_leave():
    """Three of four GPUs are free, so only other users can make room for a run on four."""
    plan = make_plan(("A cls",), ("B cls",), processes={"A cls": 4})
    schedule = Schedule(plan, slots(4), {key("A cls"): 9.0, key("B cls"): 1.0}, occupied("3"))
    first, second = schedule.order(plan.wanted)
    schedule.begin_round()
    assert schedule.find_place(first) is None
    assert schedule.find_place(second) == ("0",)


def test_a_run_on_several_gpus_gets_no_mig_instance():
    plan = make_plan(("A cls",), processes={"A cls": 2})
    gpus = ("MIG-1", "GPU-2", "MIG-3", "GPU-4")
    schedule = Schedule(plan, Slots(4, 1, gpus, ""), {})
    assert schedule.find_place(plan.runs[0]) == ("GPU-2", "GPU-4")


def test_runs_on_one_gpu_start_one_after_the_other():
    """Each measures the free memory before it trains."""
    plan = make_plan(("A cls",), ("B cls",), ("C cls",), ("D cls",))
    schedule = Schedule(plan, slots(2, jobs=4), {})
    a, b, c, d = plan.runs
    for run, gpu in ((a, "0"), (b, "1")):
        assert schedule.find_place(run) == (gpu,)
        schedule.start(run, (gpu,))
    assert schedule.find_place(c) is None
    schedule.progressed(b.key)
    schedule.begin_round()
    assert schedule.find_place(c) == ("1",)
    schedule.start(c, ("1",))
    schedule.progressed(c.key)
    schedule.begin_round()
    # GPU 1 has as many runs as `--jobs` asks for, and the one on GPU 0 has not reported yet.
    assert schedule.find_place(d) is None
    schedule.end(a.key)
    schedule.begin_round()
    assert schedule.find_place(d) == ("0",)


def test_news_of_occupied_gpus_is_told_once():
    plan = make_plan(("A cls",))
    clock = iter(range(0, 1000, 10))
    watch = Watch([Gpu("0", "A100")], lambda: {"0": Use(61 * GIB, 80 * GIB)}, lambda: next(clock))
    messages: list[str] = []
    schedule = Schedule(
        plan, slots(1), {}, watch, lambda run, text: messages.append(f"{run.row}: {text}")
    )
    for _ in range(5):
        schedule.begin_round()
        assert schedule.find_place(plan.runs[0]) is None
    assert messages == ["A: no run starts on GPU 0 for now: 61 of 80 GiB used by other processes"]


def test_two_commands_share_the_gpus(tmp_path):
    """A GPU looks free until the run of the other command needs memory."""
    plan = make_plan(("A cls",), ("B cls",), ("C cls",), processes={"C cls": 2})
    a, b, c = plan.runs
    messages: list[str] = []
    first, second = (
        Schedule(
            plan,
            slots(2),
            {},
            occupied(),
            lambda run, text: messages.append(text),
            GpuLocks(tmp_path),
        )
        for _ in range(2)
    )
    assert first.find_place(a) == ("0",)
    first.start(a, ("0",))
    assert second.find_place(c) is None
    # It waits for another command, so other runs need not wait for it.
    assert second.find_place(b) == ("1",)
    second.start(b, ("1",))
    assert set(messages) == {"GPU 0 is used by another command of yours"}
    first.begin_round()
    assert first.find_place(b) is None
    second.end(b.key)
    second.begin_round()
    first.begin_round()
    assert first.find_place(b) == ("1",)


def test_a_place_without_a_start_is_given_back(tmp_path):
    plan = make_plan(("A cls",))
    first, second = (
        Schedule(plan, slots(1), {}, occupied(), locks=GpuLocks(tmp_path)) for _ in range(2)
    )
    assert first.find_place(plan.runs[0]) == ("0",)
    assert second.find_place(plan.runs[0]) is None
    first.begin_round()
    second.begin_round()
    assert second.find_place(plan.runs[0]) == ("0",)


def test_gpus_named_by_the_user_are_not_locked(tmp_path):
    plan = make_plan(("A cls",))
    other = GpuLocks(tmp_path)
    assert other.take("0")
    schedule = Schedule(plan, slots(1), {}, None, locks=GpuLocks(tmp_path))
    assert schedule.find_place(plan.runs[0]) == ("0",)


def test_unknown_times_are_guessed_from_known_ones():
    plan: Any = make_plan(("A cls", "A det"), ("B cls", "B det"), ("C cls", "C seg"))
    seconds = {key("A cls"): 2.0, key("B cls"): 8.0, key("A det"): 30.0}
    found = with_guesses(plan, seconds)
    assert [found[key(name)] for name in ("A cls", "A det", "B cls")] == [2.0, 30.0, 8.0]
    # The median of two classifiers, that of one detector, and that of all runs.
    assert [found[key(name)] for name in ("C cls", "B det", "C seg")] == [5.0, 30.0, 8.0]
    assert set(with_guesses(plan, {}).values()) == {1.0}
    plan.runs[2].state = CACHED
    assert with_guesses(plan, seconds)[key("C cls")] == 0.0


def test_full_suite_on_eight_gpus():
    """It takes at least as long as the longest chain, teacher, student and segmentor, and as an eighth of the work."""
    eight = choose_slots(None, [str(index) for index in range(8)])
    plan = make(1)
    hours = hours_of(plan)
    end, starts = simulate(plan, hours, eight)
    assert {run.row for run, _, _ in starts[:2]} == {"ResNet-152-D", "ResNet-152-D-mixup"}
    assert 73.7 + 57.1 + 14.8 <= end < 1.07 * (73.7 + 57.1 + 14.8)
    together = make(8)
    hours = hours_of(together)
    end, starts = simulate(together, hours, eight)
    work = sum(hours[run.key] * run.processes for run in together.wanted) / 8
    assert [len(gpus) for _, _, gpus in starts[:4]] == [8, 8, 1, 1]
    assert work <= end < 1.07 * work
