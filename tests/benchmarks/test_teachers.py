"""Teachers, and what else a row may set for one task: tricks and precision."""

import pytest
from support.world import ROWS, World, make_row, make_suite, name_of

from benchmarks.plan.plan import CACHED, RUN, WAITS
from benchmarks.report.table import build_table
from benchmarks.results.read import read_run
from benchmarks.run.runner import COMPLETED, FAILED, SKIPPED, task_command
from benchmarks.suite.check import check_suite
from benchmarks.suite.model import replace
from benchmarks.suite.select import Selection

TEACHER = make_row("big", "resnet152_d", recipe="efficient", tricks=("cosine",))
STUDENTS = (
    make_row("one", "resnet10_d", recipe="efficient", teacher="big"),
    make_row("two", "resnet10_b", recipe="standard", teacher="big"),
)


def _world(folder, **options):
    suite = replace(make_suite((ROWS[0], *STUDENTS), seeds=(0, 1)), teachers=(TEACHER,))
    return World(folder, suite=suite, **options)


def test_teacher_is_trained_once(tmp_path):
    world = _world(tmp_path)
    found = {name_of(run.key): (run.state, run.reason) for run in world.plan().runs}
    assert next(iter(found)) == "big/cls"
    assert found["one/cls"] == (WAITS, "waits for its teacher")
    assert found["one/det"] == (WAITS, "waits for its classifier")
    assert [name for name in found if name.startswith("big")] == ["big/cls"]
    outcomes = world.run()
    assert {outcome.status for outcome in outcomes.values()} == {COMPLETED}
    lines = sorted(world.journal_lines("distilled"))
    assert lines == [
        f"distilled {row}/cls/seed-{seed} by big" for row in ("one", "two") for seed in (0, 1)
    ]
    assert {run.state for run in world.plan().runs} == {CACHED}


def test_failing_teacher_stops_only_its_students(tmp_path):
    outcomes = _world(tmp_path, behaviour={"big/cls": "fail"}).run()
    assert outcomes["big/cls"].status == FAILED
    assert outcomes["one/cls"].message == "skipped: its teacher failed"
    assert outcomes["one/det"].message == "skipped: its classifier was skipped"
    assert outcomes["two/seg/1"].status == SKIPPED
    assert outcomes["scratch/det"].status == COMPLETED


def test_new_teacher_means_new_students(tmp_path):
    world = _world(tmp_path)
    world.run()
    other = TEACHER.with_task("cls", tricks=())
    world.suite = replace(world.suite, teachers=(other,))
    states = {name_of(run.key): run.state for run in world.plan().runs}
    assert states["big/cls"] == RUN
    assert states["one/cls"] == states["two/cls/1"] == WAITS
    assert states["scratch/det"] == CACHED
    # Until the new teacher is there, the plan does not count the old students' numbers.
    world.plan().write()
    stale = {(run.row, run.task) for run in read_run(world.run_dir).runs if run.state == "stale"}
    assert ("one", "cls") in stale
    assert ("scratch", "det") not in stale


def test_teacher_score_is_below_table(tmp_path):
    world = _world(tmp_path)
    world.run()
    table = build_table(read_run(world.run_dir))
    assert [row.row.name for row in table.rows] == ["scratch", "one", "two"]
    [note] = [note for note in table.notes if note.startswith("teacher")]
    assert note.startswith(
        "teacher big of one, two: resnet152_d, efficient, cosine; trained once, top-1"
    )


def test_unneeded_teachers_are_left_out(tmp_path):
    world = _world(tmp_path, selection=Selection(rows=("scratch",)))
    assert not any(run.key.row == "big" for run in world.plan().wanted)


def test_row_tricks_and_precision_reach_tasks(tmp_path):
    row = make_row(
        "own",
        "resnet10_b",
        recipe="standard",
        tricks=("cosine",),
        det_tricks=("giou",),
        precision="fp32",
    )
    suite = make_suite((row,))
    suite = replace(
        suite, tasks={**suite.tasks, "det": replace(suite.tasks["det"], tricks=("ema",))}
    )
    world = World(tmp_path, suite=suite)
    for name in ("giou", "ema"):
        (world.root / "det/configs/tricks").mkdir(exist_ok=True)
        world.edit(f"det/configs/tricks/{name}.py", f"{name} = True\n")
    commands = {
        run.key.task: " ".join(task_command(world.plan(), run)) for run in world.plan().runs
    }
    assert "--trick cosine" in commands["cls"]
    assert "--trick ema --trick giou" in commands["det"]
    assert "--trick" not in commands["seg"]
    assert all("--precision fp32" in command for command in commands.values())
    world.run()
    world.edit("det/configs/tricks/giou.py", "giou = False\n")
    states = {run.key.task: run.state for run in world.plan().runs}
    assert states == {"cls": CACHED, "det": RUN, "seg": CACHED}


SOUND = dict(
    tasks=dict(cls=dict(config="c", data="d")),
    datasets=dict(d=dict(kind="imagefolder", path="p")),
    rows=[dict(name="a", backbone="x", recipe="r", teacher="t")],
    teachers=[dict(name="t", backbone="y", recipe="r")],
)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(teachers=[]), "row 'a': unknown teacher 't'"),
        (dict(teachers=[dict(name="a", backbone="y", recipe="r")]), "a teacher has the same name"),
        (
            dict(teachers=[dict(name="t", backbone="y", pretrain=False)]),
            "teacher 't': a teacher is trained here",
        ),
        (
            dict(teachers=[dict(name="t", backbone="y", recipe="r", teacher="t")]),
            "a teacher has no teacher of its own",
        ),
        (dict(columns=["top1", "mAP"]), "columns: unknown column 'mAP'"),
        (dict(intended=dict(precision=3)), "'intended.precision' is 3, expected a valid string"),
        (dict(rows=[dict(name="a", backbone="x", recipe="r", precision="fp8")]), "precision 'fp8'"),
    ],
)
def test_mistakes(change, sentence):
    assert check_suite(SOUND) == []
    assert any(sentence in problem for problem in check_suite({**SOUND, **change}))
