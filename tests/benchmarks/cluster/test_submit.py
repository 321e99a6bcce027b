"""Jobs for Slurm, with a stub in place of sbatch; tests/slurm has a real cluster."""

from __future__ import annotations

import io
import os
import pickle
import signal
import stat
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console
from support.world import ROWS, World, make_row, make_suite, wait_for

from benchmarks.cli import parse
from benchmarks.cluster import jobs, resources, submit
from benchmarks.cluster.job import RunJob
from benchmarks.cluster.jobs import Jobs
from benchmarks.cluster.options import check_no_cluster, job_words, sbatch_options
from benchmarks.commands import on_cluster
from benchmarks.plan.plan import CACHED
from benchmarks.plan.store import RunKey
from contract.errors import UserError
from contract.files import read_json

pytest.importorskip("submitit")

SBATCH = """#!{python} -IS
import os, re, sys
folder = {folder!r}
text = open(sys.argv[1]).read()
name = re.search("--job-name=(.*)", text)[1]
count = len(os.listdir(folder + "/calls"))
with open(folder + "/calls/" + str(count), "w") as file:
    file.write(text)
with open(folder + "/environment", "w") as file:
    file.write(str(sorted(os.environ)))
plan = open(folder + "/refuse").read().splitlines()
if count < int(plan[0]):
    sys.exit("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
if len(plan) > 1 and re.search(plan[1], name):
    sys.exit("sbatch: error: Batch job submission failed: Invalid account")
print("Submitted batch job", 100 + count)
"""


class Stub:
    """Programs in PATH that record what they get."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "calls").mkdir(parents=True)
        self.refuse(0)
        self.program("sbatch", SBATCH.format(python=sys.executable, folder=str(folder)))
        self.program("srun", "#!/bin/sh\n")
        self.queue()

    def program(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def refuse(self, first: int, names: str | None = None) -> None:
        lines = [str(first), *([names] if names else [])]
        (self.folder / "refuse").write_text("\n".join(lines), encoding="utf-8")

    def queue(self, *ids: str, status: int = 0) -> None:
        lines = "\\n".join(ids)
        self.program("squeue", f"#!/bin/sh\nprintf '{lines}\\n'\necho broken >&2\nexit {status}\n")

    @property
    def scripts(self) -> list[str]:
        calls = sorted((self.folder / "calls").iterdir(), key=lambda path: int(path.name))
        return [path.read_text(encoding="utf-8") for path in calls]


@pytest.fixture
def stub(tmp_path, monkeypatch) -> Stub:
    made = Stub(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}:{os.environ['PATH']}")
    monkeypatch.setattr(submit, "PAUSES_SECONDS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(submit.Submitter.__init__, "__defaults__", ((0.0, 0.0, 0.0),))
    monkeypatch.setattr("submitit.core.core.PicklingExecutor._throttle", lambda self: None)
    return made


def call(world: World, *words: str) -> tuple[int, str]:
    """Submit the runs of a small suite; return the exit status and what was printed."""
    options = parse(["run", "tiny", "--device", "cpu", "--cluster", "slurm", *words])
    shown = io.StringIO()
    console = Console(file=shown, width=200)
    status = on_cluster.submit(options, world.plan(), console, is_certain=True)
    return status, shown.getvalue()


def setting(script: str, name: str) -> str | None:
    found = [line for line in script.splitlines() if line.startswith(f"#SBATCH --{name}")]
    return found[0].partition("=")[2] if found else None


def test_arrays_and_dependencies(tmp_path, stub):
    world = World(tmp_path)
    status, printed = call(
        world, "--partition", "long", "--slurm-args=--constraint=a100 --exclusive"
    )
    assert status == 0 and "Submitted 8 runs in 5 calls of sbatch" in printed
    names = [setting(script, "job-name") for script in stub.scripts]
    # Classifiers first; what starts from one waits for that one alone, however it ends.
    assert names == ["tiny-cls", "tiny-det", "tiny-seg", "tiny-standard", "tiny-tricks"]
    dependencies = [setting(script, "dependency") for script in stub.scripts]
    assert dependencies == [None, None, None, "afterany:100_0", "afterany:100_1"]
    assert setting(stub.scripts[0], "array") == "0-1%2"
    script = stub.scripts[0]
    assert (setting(script, "partition"), setting(script, "constraint")) == ("long", "a100")
    assert "#SBATCH --exclusive\n" in script and "#SBATCH --requeue\n" in script
    assert setting(script, "signal") == "B:USR2@180"
    assert "gpus" not in script and "wckey" not in script
    recorded = Jobs(world.run_dir).recorded
    assert recorded["cells/tricks/cls/seed-0"] == "100_1"
    assert recorded["cells/scratch/det/seed-0"] == "101"
    with (world.run_dir / "slurm" / "100_1_submitted.pkl").open("rb") as file:
        job = pickle.load(file).function
    assert job.command[:2] == ["run", "tiny"] and job.folder == os.getcwd()
    assert job.command[-3:] == [f"--run-dir={world.run_dir}", "--device=cpu", "--only=tricks/cls/0"]
    assert parse(job.command).only == RunKey("tricks", "cls", 0)
    assert parse(job.command).cluster is None


def test_teachers_and_gpus(tmp_path, stub, monkeypatch):
    teacher = make_row("teacher", "resnet10_d")
    student = make_row("student", "resnet10_b", recipe="standard", teacher="teacher")
    suite = make_suite((ROWS[0], student)).model_copy(update={"teachers": (teacher,)})
    world = World(tmp_path, suite=suite)
    options = parse(["run", "tiny", "--cluster", "slurm", "--cpus-per-run", "3"])
    options.gpus_per_run = [(False, 2), (True, 4)]
    assert (
        on_cluster.submit(options, world.plan(), Console(file=io.StringIO()), is_certain=False) == 0
    )
    found = [
        tuple(setting(script, name) for name in ("job-name", "gpus-per-node", "cpus-per-task"))
        for script in stub.scripts
    ]
    assert found[0] == ("tiny-cls", "4", "3")
    assert {gpus for _, gpus, _ in found[1:]} == {"2"}
    assert setting(stub.scripts[-2], "dependency") == "afterany:100"
    with (world.run_dir / "slurm" / "100_submitted.pkl").open("rb") as file:
        assert "--device=cuda" in pickle.load(file).function.command


def test_second_submission_leaves_out_what_is_done_or_queued(tmp_path, stub):
    world = World(tmp_path)
    call(world)
    stub.queue("100_0", "101", "103_0", "7")
    _, printed = call(world)
    assert "8 runs: 0 done before, 3 in the queue already." in printed
    assert "Submitted 5 runs" in printed
    # The classifier of the first row is still in the queue; its other run waits for that job.
    [script] = [text for text in stub.scripts[5:] if setting(text, "job-name") == "tiny-standard"]
    assert setting(script, "dependency") == "afterany:100_0"
    world.run()
    stub.queue()
    _, printed = call(world)
    assert "8 done before" in printed and "Submitted 0 runs" in printed


def test_queue_that_does_not_answer(tmp_path, stub, monkeypatch):
    world = World(tmp_path)
    call(world)
    stub.queue(status=1)
    _, printed = call(world)
    assert "squeue failed: broken; earlier jobs count as in the queue." in printed
    assert "Submitted 0 runs" in printed
    monkeypatch.setenv("PATH", str(tmp_path))
    assert jobs.queue() == "squeue is not on this machine"


def test_runs_of_other_commands_are_left_out(tmp_path, stub):
    world = World(tmp_path)
    plan = world.plan()
    claim = plan.store.lock(str(plan.find(RunKey("scratch", "det", 0)).identity))
    assert claim is not None
    _, printed = call(world)
    claim.close()
    assert f"scratch · det · seed 0: process {os.getpid()} on" in printed
    assert "Submitted 7 runs" in printed


def test_busy_scheduler_is_asked_again(tmp_path, stub):
    stub.refuse(2)
    world = World(tmp_path)
    status, _ = call(world)
    assert status == 0
    assert [setting(text, "job-name") for text in stub.scripts[:4]] == [
        *["tiny-cls"] * 3,
        "tiny-det",
    ]


def test_refused_run_fails_alone(tmp_path, stub):
    stub.refuse(0, r"^tiny-cls$|^tiny-tricks-cls-0$")
    world = World(tmp_path)
    status, printed = call(world)
    assert status == 1 and "Submitted 5 runs" in printed
    failure = read_json(world.view("tricks/cls") / "failure.json")
    assert failure is not None
    assert (
        failure["message"] == "it was not submitted: Batch job submission failed: Invalid account"
    )
    failure = read_json(world.view("tricks/seg") / "failure.json")
    assert failure is not None
    assert failure["message"] == "it was not submitted, because its classifier was not"
    assert sum(setting(text, "job-name") == "tiny-cls" for text in stub.scripts) == 1


def test_scheduler_that_is_away_is_not_waited_for_by_each_run(tmp_path, stub):
    stub.refuse(1000)
    status, _ = call(World(tmp_path))
    assert status == 1
    # Four tries of the first array; its two runs and the two runs without a classifier once each.
    assert len(stub.scripts) == 4 + 2 + 2


def test_submission_inside_a_job(tmp_path, stub, monkeypatch):
    for name in ("SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "SBATCH_PARTITION", "SUBMITIT_EXECUTOR"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/other.conf")
    assert call(World(tmp_path))[0] == 0
    seen = (stub.folder / "environment").read_text(encoding="utf-8")
    assert "SLURM_CONF" in seen and "SLURM_JOB_ID" not in seen and "SUBMITIT" not in seen
    assert os.environ["SLURM_JOB_ID"] == "1"
    monkeypatch.delenv("SLURM_JOB_ID")
    call(World(tmp_path / "other"))
    assert "SBATCH_PARTITION" in (stub.folder / "environment").read_text(encoding="utf-8")


def test_dry_run(tmp_path, stub):
    world = World(tmp_path)
    status, printed = call(world, "--dry-run")
    assert status == 0 and "Would submit 8 runs in 5 calls of sbatch." in printed
    assert "#SBATCH --array=0-1%2" in printed and "after call 1_0" in printed
    assert stub.scripts == [] and not (world.run_dir / "plan.json").exists()


def test_time_limit_before_the_signal_is_refused(tmp_path, stub):
    with pytest.raises(
        UserError, match=r"--time-limit 5 minutes .* 400 seconds before .* at least 8"
    ):
        call(World(tmp_path), "--dry-run", "--time-limit", "5", "--signal-seconds", "400")


def test_slurm_is_missing(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match=r"sbatch is not in PATH; give the command on a machine"):
        submit.check_slurm()
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"needs submitit.*trickbench\[slurm\]"):
        submit.check_slurm()


def test_time_and_memory(tmp_path, monkeypatch):
    plan = World(tmp_path).plan()
    first, second = plan.runs[:2]
    monkeypatch.setattr(resources, "expected_seconds", lambda plan: {first.key: 7200.0})
    monkeypatch.setattr(resources, "expected_memory_bytes", lambda plan: {first.key: 10 * 1024**3})
    estimator = resources.Estimator(plan, resources.Limits())
    asked = estimator.of([first], 1)
    assert (asked.minutes, asked.memory_gib, asked.cpus, asked.gpus) == (190, 15, 8, 1)
    assert str(asked) == "3 h 10 min, 15 GiB, 8 cores, 1 GPU"
    both = estimator.of([first, second], 2)
    assert (both.minutes, both.memory_gib, both.cpus) == (240, 16, 16)
    limits = resources.Limits(most_minutes=60, memory_gib=99, cpus=2)
    asked = resources.Estimator(plan, limits).of([first], 0)
    assert (asked.minutes, asked.memory_gib, asked.cpus) == (60, 99, 2)


def test_words_of_a_job():
    """The values of --rows end where a removed option stood, so the suite is no row."""
    words = "run --rows a b --partition x mini --dry-run --cluster=slurm --seeds 0 1 --time-limit 9"
    found = parse(job_words(words.split(), RunKey("a", "det", 1), "/runs/mini", "cuda"))
    assert (found.suite, found.rows, found.seeds) == ("mini", ["a", "b"], [0, 1])
    assert (found.cluster, found.partition, found.dry_run) == (None, None, False)
    assert (found.only, found.device, str(found.run_dir)) == (
        RunKey("a", "det", 1),
        "cuda",
        "/runs/mini",
    )


@pytest.mark.parametrize("text", ["-p x", "--array=3", "constraint", '"'])
def test_wrong_options_of_sbatch(text):
    with pytest.raises(UserError, match="--slurm-args"):
        sbatch_options(text)


@pytest.mark.parametrize("text", ["a/det", "a/det/x", "a"])
def test_wrong_only(text):
    with pytest.raises(UserError, match="expected ROW/TASK/SEED"):
        parse(["run", f"--only={text}"])


def test_job_passes_the_wish_to_end_on(tmp_path):
    """A stub of this package notes SIGTERM; the job waits for it and returns what goes on."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__main__.py").write_text(
        "import pathlib, signal, sys, time\n"
        "def end(*_): pathlib.Path('ended').write_text('stored'); sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "pathlib.Path('started').write_text(' '.join(sys.argv[1:]))\n"
        "time.sleep(60)\n",
        encoding="utf-8",
    )
    job = RunJob(["run", "mini"], str(tmp_path), {"PYTHONPATH": str(tmp_path)})
    before = signal.getsignal(signal.SIGTERM)
    found = []
    # As in submitit, the handler interrupts the call that waits for the command.
    signal.signal(signal.SIGUSR2, lambda *_: found.append(job.checkpoint()))

    def ask() -> None:
        wait_for(lambda: (tmp_path / "started").exists() and (tmp_path / "started").read_text())
        os.kill(os.getpid(), signal.SIGUSR2)

    threading.Thread(target=ask).start()
    try:
        with pytest.raises(SystemExit) as status:
            job()
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    assert status.value.code == 75
    assert (tmp_path / "started").read_text(encoding="utf-8") == "run mini"
    assert (tmp_path / "ended").read_text(encoding="utf-8") == "stored"
    again = pickle.loads(pickle.dumps(found[0])).function
    assert (again.command, again.folder) == (["run", "mini"], str(tmp_path))


def test_what_a_run_starts_from(tmp_path, monkeypatch):
    world = World(tmp_path, behaviour={"standard/cls": "fail"})
    shown = Console(file=io.StringIO(), width=200)
    plan = world.plan()
    run = plan.find(RunKey("standard", "det", 0))
    problem = on_cluster.check_input(plan, run, shown)
    assert problem == "its classifier standard · cls · seed 0 has no result"
    world.run()
    problem = on_cluster.check_input(plan, run, shown)
    assert problem is not None and "has no result: the task failed with exit status 1" in problem
    assert on_cluster.check_input(plan, plan.find(RunKey("scratch", "det", 0)), shown) is None
    world.behaviour.clear()
    monkeypatch.setattr(on_cluster, "_SECONDS_BETWEEN_LOOKS", 0.02)
    needed = world.plan().find(RunKey("standard", "cls", 0))
    claim = plan.store.lock(str(needed.identity))
    assert claim is not None
    threading.Timer(0.2, claim.close).start()
    began = time.monotonic()
    assert on_cluster.check_input(plan, run, shown) is not None
    assert time.monotonic() - began > 0.1
    world.run()
    assert on_cluster.check_input(plan, run, shown) is None
    assert run.state == CACHED


@pytest.mark.parametrize("word", ["--dry-run", "--partition=gpu", "--time-limit"])
def test_an_option_of_a_cluster_without_one_is_refused_and_trains_nothing(word):
    with pytest.raises(UserError, match="without --cluster"):
        check_no_cluster(["run", "mini", word])
    check_no_cluster(["run", "mini", "--jobs=1", "--device", "cpu"])
