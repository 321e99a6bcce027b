"""Suites: loading, inheritance, mistakes, and the selection by a command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.world import make_root, make_row, make_suite

from benchmarks.plan.preflight import available_tricks, check_names
from benchmarks.results.columns import known_columns
from benchmarks.suite.load import load_suite, suite_names
from benchmarks.suite.model import replace
from benchmarks.suite.names import COLUMNS, ROOT
from benchmarks.suite.select import Selection, parse_override, select
from contract.errors import UserError
from contract.tasks import TASKS

TRICKS = ("cosine", "label_smoothing", "mixup")
SOUND = """
stages = dict(
    cls=dict(config="c.py", data="cls"), det=dict(config="d.py", data="det", set=dict(lr=0.1))
)
datasets = dict(
    cls=dict(kind="imagefolder", path="images"),
    det=dict(kind="voc", path="/data/voc", smoke=dict(path="tiny/voc", generate="tiny")),
)
rows = [dict(name="a", backbone="resnet18", recipe="standard", tricks=["cosine"])]
"""


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def mistake(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        load_suite(write(folder, text))
    return str(caught.value)


def test_built_in_suites_load():
    assert {"mini", "voc_ade20k"} <= set(suite_names())
    for name in suite_names():
        check_names(load_suite(name), ROOT)


def test_row_with_own_lr(tmp_path):
    text = (
        'rows = [dict(name="a", backbone="x", recipe="y", det_lr=3, cls_lr=0.5), '
        'dict(name="b", backbone="z", like="a"), dict(name="c", backbone="x", pretrain=False, like="a")]'
    )
    one, like, scratch = load_suite(write(tmp_path, SOUND + text)).rows
    assert {task: one.of(task).lr for task in TASKS} == {
        **dict.fromkeys(TASKS, 1.0),
        "cls": 0.5,
        "det": 3.0,
    }
    # 3 and 3.0 are one factor and one identity.
    assert isinstance(one.of("det").lr, float)
    assert (like.of("cls").lr, like.of("det").lr) == (0.5, 3.0)
    # It trains no classifier.
    assert (scratch.of("cls").lr, scratch.of("det").lr) == (1.0, 3.0)


def test_full_suite_has_paper_rows_and_teachers():
    suite = load_suite("voc_ade20k")
    assert len(suite.rows) == 7
    assert suite.rows[0].reference == {"top1": 76.14, "map": 77.54, "pixacc": 78.08, "miou": 37.05}
    assert suite.rows[-1].reference == {"top1": 79.29, "map": 81.33, "pixacc": 78.72, "miou": 38.40}
    teachers = {row.name: row.teacher for row in suite.rows if "distillation" in row.tricks}
    assert teachers == {
        "+distill-no-mixup": "ResNet-152-D",
        "+distill-and-mixup": "ResNet-152-D-mixup",
    }


def test_user_paths_are_relative_to_suite(tmp_path):
    suite = load_suite(write(tmp_path, SOUND))
    assert suite.name == "mine"
    assert suite.datasets["cls"].path == tmp_path / "images"
    assert suite.datasets["det"].path == Path("/data/voc")
    assert suite.smoke_datasets["det"].path == tmp_path / "tiny/voc"
    assert suite.smoke_datasets["cls"] == suite.datasets["cls"]
    assert suite.tasks["det"].overrides == {"lr": 0.1}
    assert suite.seeds == (0,)


def test_inherits_and_adds_row(tmp_path):
    text = 'base = "mini"\nadd_rows = [dict(name="mine", backbone="resnet18_d", like="tricks")]'
    suite, mini = load_suite(write(tmp_path, text)), load_suite("mini")
    assert suite.rows[:-1] == mini.rows
    assert suite.datasets == mini.datasets
    added, model = suite.rows[-1], mini.rows[-1]
    assert (added.name, added.backbone) == ("mine", "resnet18_d")
    assert (added.recipe, added.tricks) == (model.recipe, model.tricks)


def test_inherits_from_file_and_replaces_parts(tmp_path):
    write(tmp_path, SOUND, "parent.py")
    text = 'base = "parent.py"\nseeds = [1, 2]\ndatasets = dict(cls=dict(kind="voc", path="x"))'
    suite = load_suite(write(tmp_path, text))
    assert suite.seeds == (1, 2)
    assert (suite.datasets["cls"].kind, suite.datasets["det"].kind) == ("voc", "voc")
    assert [row.name for row in suite.rows] == ["a"]


def test_leaves_out_task_of_base(tmp_path):
    suite = load_suite(write(tmp_path, 'base = "mini"\nstages = dict(seg=None)'))
    assert list(suite.tasks) == ["cls", "det"]
    assert suite.rows == load_suite("mini").rows


def test_circular_inheritance(tmp_path):
    write(tmp_path, 'base = "mine.py"', "other.py")
    assert "in a circle" in mistake(tmp_path, 'base = "other.py"')


def test_reports_all_mistakes_together(tmp_path):
    text = 'sedes = [1]\nseeds = [1, 1]\nadd_rows = [dict(name="a", backbnoe="x")]'
    message = mistake(tmp_path, SOUND + text)
    assert "has 6 mistakes" in message
    for part in (
        "'sedes'",
        "seeds: [1, 1] names 1 twice",
        "'backbnoe'",
        "another row is called 'a'",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ('dict(name="b")', "it has no key 'backbone'"),
        ('dict(name="b", backbone="x")', "give a recipe, weights, or pretrain=False"),
        ('dict(name="b", backbone="x", reciep="y")', "did you mean 'recipe'?"),
        ('dict(name="b c", backbone="x", recipe="y")', "for example 'b-c'"),
        ('dict(name="../b", backbone="x", recipe="y")', "the name is also a folder's"),
        ('dict(name="A", backbone="x", recipe="y")', "another row is called 'a'"),
        ('dict(name="b", backbone="x", like="c")', "unknown row above it 'c'"),
        ('dict(name="b", backbone="x", pretrain=False, recipe="y")', "contradict each other"),
        ('dict(name="b", backbone="x", weights="w", recipe="y")', "not both"),
        ('dict(name="b", backbone=3, recipe="y")', "'backbone' is 3, expected a valid string"),
        (
            'dict(name="b", backbone="x", recipe="y", tricks="mixup")',
            "tricks: 'mixup' is not a list",
        ),
        (
            'dict(name="b", backbone="x", recipe="y", tricks=["m", "m"])',
            "tricks: ['m', 'm'] names 'm' twice",
        ),
        ('dict(name="b", backbone="x", recipe="y", requires=["m"])', "not among its tricks"),
        ('dict(name="b", backbone="x", recipe="y", reference=dict(mpa=1))', "did you mean 'map'?"),
        ('dict(name="b", backbone="x", recipe="y", reference=dict(map=444))', "no percentage"),
        (
            'dict(name="b", backbone="x", recipe="y", det_lr=0)',
            "'det_lr' is 0, expected greater than 0",
        ),
        (
            'dict(name="b", backbone="x", recipe="y", seg_lr=-1.5)',
            "'seg_lr' is -1.5, expected greater than 0",
        ),
        ('dict(name="b", backbone="x", recipe="y", cls_lr=True)', "cls_lr: True is no number"),
        (
            'dict(name="b", backbone="x", recipe="y", det_lr=1e999)',
            "'det_lr' is inf, expected a finite number",
        ),
        (
            'dict(name="b", backbone="x", recipe="y", det_lr="3")',
            "'det_lr' is '3', expected a valid number",
        ),
        ('dict(name="b", backbone="x", recipe="y", det_rl=3)', "did you mean 'det_lr'?"),
        ('dict(name="b", backbone="x", recipe="y", probe_lr=3)', "unknown key 'probe_lr'"),
        ('dict(name="b", backbone="x", pretrain=False, cls_lr=3)', "and cls_lr contradict"),
        ('dict(name="b", backbone="x", weights="w", cls_lr=3)', "give either weights or cls_lr"),
        ('"b"', "row 2 is not a dict"),
    ],
)
def test_row_mistakes(tmp_path, row, part):
    assert part in mistake(tmp_path, SOUND + f"add_rows = [{row}]")


def test_row_by_task(tmp_path):
    flat = (
        'dict(name="b", backbone="x", recipe="y", tricks=["m", "k"], requires=["k"], cls_lr=2, '
        'det_tricks=["giou"], det_lr=0.3, seg_tricks=["ohem"])'
    )
    nested = (
        'dict(name="b", backbone="x", cls=dict(recipe="y", tricks=["m", "k"], requires=["k"], lr=2), '
        'det=dict(tricks=["giou"], lr=0.3), seg=dict(tricks=("ohem",)))'
    )
    one, other = (
        load_suite(write(tmp_path, SOUND + f"add_rows = [{row}]")).rows[-1]
        for row in (flat, nested)
    )
    assert one == other
    assert one.of("det").lr == 0.3 and one.of("cls").requires == ("k",)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("det=dict(trikcs=['a'])", "row 'b', det: unknown key 'trikcs'; did you mean 'tricks'?"),
        ("det=dict(recipe='a')", "row 'b', det: unknown key 'recipe'"),
        ("probe=dict(lr=2)", "row 'b', probe: unknown key 'lr'"),
        (
            "det=dict(lr=0)",
            "row 'b', det: 'lr' is 0, expected greater than 0. It is a finite factor",
        ),
        ("det=['a']", "row 'b', det is not a dict"),
        ("det=dict(lr=2), det_lr=3", "give either det_lr or det=dict(lr=…), not both"),
        ("dte=dict(lr=2)", "row 'b': unknown key 'dte'; did you mean 'det'?"),
    ],
)
def test_row_by_task_mistakes(tmp_path, options, part):
    text = f'add_rows = [dict(name="b", backbone="x", recipe="y", {options})]'
    assert part in mistake(tmp_path, SOUND + text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("tasks = dict(cls=None)", "give either tasks or stages, not both"),
        ("seeds = [2**32]", "`2 ** 32`"),
        (
            "seeds = [4294967296]",
            "'seeds[0]' is 4294967296, expected less than or equal to 4294967295",
        ),
        ("seeds = 3", "seeds: 3 is not a list"),
        ("columns = ['mpa']", "columns: unknown column 'mpa'; did you mean 'map'?"),
        ("datasets = dict(cls=dict(kind='voc', path='x', generate=5))", "'generate' is 5"),
        (
            "add_rows = [dict(name='b', backbone='x', recipe='y', gpu_hours=-5)]",
            "'gpu_hours' is -5",
        ),
    ],
)
def test_head_mistakes(tmp_path, text, part):
    assert part in mistake(tmp_path, SOUND + text)


def test_tasks_and_stages_are_synonyms(tmp_path):
    one = load_suite(write(tmp_path, SOUND))
    assert load_suite(write(tmp_path, SOUND.replace("stages =", "tasks ="))) == one


def test_suite_must_not_use_store_folder(tmp_path):
    with pytest.raises(UserError, match="where finished runs are kept"):
        load_suite(write(tmp_path, SOUND, "store.py"))


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ('kind="voc"', 'kind="vco"', "did you mean 'voc'?"),
        ('data="det"', 'data="dte"', "did you mean 'det'?"),
        ("det=dict(config", "dte=dict(config", "did you mean 'det'?"),
        ('path="images"', 'pth="images"', "it has no key 'path'"),
        ("set=dict(lr=0.1)", "set=0.1", "'set' is 0.1, expected a valid dictionary"),
        ("cls=dict(config", "seg=dict(config", "has no task 'cls'"),
        ("rows = [", "import os\nrows = [", "line 9, holds more than data: `import os`"),
        ("rows = [", "rows = [[", "is not valid Python"),
        (
            'recipe="standard"',
            "recipe=standard",
            "data: the name 'standard' is not assigned above",
        ),
    ],
)
def test_other_mistakes(tmp_path, old, new, part):
    assert part in mistake(tmp_path, SOUND.replace(old, new, 1))


def test_unknown_suite_suggests_nearest():
    with pytest.raises(UserError, match="did you mean 'mini'"):
        load_suite("mnii")
    with pytest.raises(UserError, match="There is no suite file"):
        load_suite("absent.py")


def test_suite_must_not_use_built_in_folder(tmp_path):
    with pytest.raises(UserError, match="would share its run folder"):
        load_suite(write(tmp_path, SOUND, "mini.py"))


def test_reports_unknown_names_together(tmp_path):
    root = make_root(tmp_path)
    rows = (
        make_row("a", "x", recipe="standrad"),
        make_row("b", "x", recipe="standard", tricks=("cosin",)),
        make_row("c", "x", weights=tmp_path / "absent.safetensors"),
        make_row("d", "x", recipe="standard", tricks=("distillation",), requires=("distillation",)),
    )
    suite = make_suite(rows)
    tasks = {**suite.tasks, "det": replace(suite.tasks["det"], config="det/configs/mnii.py")}
    with pytest.raises(UserError) as caught:
        check_names(replace(suite, tasks=tasks), root)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    parts = ("det/configs/mini.py", "standard", "cosine", "no checkpoint")
    for line, part in zip(lines, parts, strict=True):
        assert part in line


def chosen(selection: Selection):
    return select(make_suite(), selection, TRICKS)


def test_backbones_option_adds_rows():
    rows = (
        *make_suite().rows,
        make_row("later", "x", recipe="efficient", tricks=("new",), requires=("new",)),
    )
    suite = select(make_suite(rows), Selection(backbones=("timm:resnet50.a1",)), TRICKS)
    added = suite.rows[-1]
    assert (added.name, added.backbone) == ("timm-resnet50.a1", "timm:resnet50.a1")
    assert (added.recipe, added.tricks) == ("efficient", ("cosine",))


def test_overrides_data_and_seeds_replace_suite():
    selection = Selection(
        seeds=(4, 5), overrides={"det": {"lr": 2}}, data={"seg": Path("/mine")}, budget="short"
    )
    suite = chosen(selection)
    assert suite.seeds == (4, 5)
    assert suite.tasks["det"].overrides == {"lr": 2}
    dataset = suite.datasets[suite.tasks["seg"].data]
    assert (dataset.kind, dataset.path, dataset.generate) == ("ade20k", Path("/mine"), None)


def test_smoke_uses_one_seed():
    suite = make_suite(seeds=(3, 4))
    assert select(suite, Selection(budget="smoke"), TRICKS).seeds == (3,)
    assert select(suite, Selection(budget="smoke", seeds=(1, 2)), TRICKS).seeds == (1, 2)


@pytest.mark.parametrize(
    ("selection", "part"),
    [
        (Selection(budget="ful"), "unknown budget 'ful'; did you mean 'full'?"),
        (Selection(precision="bf61"), "unknown precision 'bf61'; did you mean 'bf16'?"),
        (Selection(rows=("trick",)), "unknown row 'trick'; did you mean 'tricks'?"),
        (Selection(tasks=("sge",)), "unknown task 'sge'; did you mean 'seg'?"),
        (Selection(backbones=("tricks",)), "which the suite has already"),
        (Selection(tasks=("cls",), data={"det": Path()}), "no task 'det' to use the data in"),
        (Selection(tasks=("cls",), overrides={"det": {"lr": 1}}), "task 'det' does not run"),
    ],
)
def test_selection_mistakes(selection, part):
    with pytest.raises(UserError, match=re.escape(part)):
        chosen(selection)


def test_overrides_are_python_literals():
    assert parse_override("det.optimizer.lr=0.5") == ("det", "optimizer.lr", 0.5)
    assert parse_override("cls.schedule=step") == ("cls", "schedule", "step")
    with pytest.raises(UserError, match=re.escape("Write TASK.key=value")):
        parse_override("lr=0.5")
    with pytest.raises(UserError, match="unknown task 'dte'"):
        parse_override("dte.lr=0.5")


def test_tricks_are_files(tmp_path):
    assert available_tricks(make_root(tmp_path)) == ["cosine", "warmup"]


def test_columns_of_a_suite():
    assert set(COLUMNS) == set(known_columns())
    scores = {name for name, column in COLUMNS.items() if column.kind == "score"}
    assert {name for name, column in known_columns().items() if column.unit == "%"} <= scores


def test_the_default_columns_are_those_of_the_suite_s_tasks(tmp_path):
    text = 'base = "mini"\ntasks = dict(det=None)\n'
    assert load_suite(write(tmp_path, text)).columns == ("top1", "pixacc", "miou")


def test_published_weights(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "base = 'mini'\n"
        "add_rows = [dict(name='public', backbone='timm:resnet10t.c3_in1k', weights='published')]\n",
        encoding="utf-8",
    )
    row = load_suite(str(path)).rows[-1]
    assert row.published and not row.trains_classifier
    assert row.weights == ROOT / "data" / "weights" / "timm-resnet10t.c3_in1k.safetensors"
