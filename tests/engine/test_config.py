"""Configs: order of merging, and nothing unknown passes."""

import runpy
from pathlib import Path

import pytest
from mmengine.config import Config

from contract.errors import UserError
from contract.tasks import TASKS
from engine import config as configs
from engine.short_keys import OPTIMISER_KEYS

ROOT = Path(__file__).parents[2]

BASE = """
lr = 0.1
epochs = 120
name = "plain"
schedule = dict(type="step", milestones=[30, 60], gamma=0.1)
pipeline = dict(crop=dict(type="Crop", size=224), flip=dict(type="Flip", p=0.5))
ema = None
steps = [dict(type="A"), dict(type="B", size=3)]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tricks").mkdir()
    files = {
        "base": BASE,
        "small": '_base_ = "base.py"\nepochs = 6\npipeline = dict(crop=dict(size=64))\n',
        "_private": "lr = 1\n",
        "tricks/cosine": 'schedule = dict(_delete_=True, type="cosine")\n',
        "tricks/longer": "epochs = 200\nlr = 0.2\n",
        "tricks/shorter": "epochs = 3\n",
        "tricks/average": 'ema = dict(type="Average", momentum=0.1)\n',
        "tricks/misspelt": "schedul = dict()\n",
        "tricks/misfit": "lr = dict(value=1)\n",
        "broken": "lr = (1\n",
        "raising": "lr = 1 / 0\n",
        "orphan": '_base_ = "absent.py"\n',
        "nameless": "lr = rate\n",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def test_merge_order(folder):
    loaded = configs.load(folder, "small", ("longer", "cosine"), {"lr": 0.7})
    assert (loaded.epochs, loaded.lr, loaded.schedule.type) == (200, 0.7, "cosine")
    assert configs.load(folder, "small", ("shorter",), {}).epochs == 3
    assert configs.load(folder, "small", ("shorter",), {"epochs": 9}).epochs == 9
    assert loaded.pipeline.to_dict() == {
        "crop": {"type": "Crop", "size": 64},
        "flip": {"type": "Flip", "p": 0.5},
    }


def test_delete_replaces_dict(folder):
    loaded = configs.load(folder, "base", ("cosine",), {})
    assert loaded.schedule.to_dict() == {"type": "cosine"}


def _tricks(folder, **texts):
    for name, text in texts.items():
        (folder / "tricks" / f"{name}.py").write_text(text + "\n")
    return tuple(texts)


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        ("lr = 1", "lr = 2", "lr (1 and 2)"),
        ("epochs = 1\nlr = 1", "name = 'a'\nlr = 2", "lr (1 and 2)"),
        (
            "schedule = dict(gamma=0.5)",
            "schedule = dict(type='step', gamma=0.2)",
            "schedule.gamma (0.5 and 0.2)",
        ),
        ("steps = [1]", "steps = [1, 2]", "steps ([1] and [1, 2])"),
        ("ema = dict(m=1)", "ema = None", "ema ({'m': 1} and None)"),
        ("ema = dict(m=1)", "ema = dict(m=2)", "ema.m (1 and 2)"),
        (
            "pipeline = dict(crop=dict(size=1))",
            "pipeline = dict(crop=None)",
            "pipeline.crop ({'size': 1} and None)",
        ),
        # A dict that replaces what was there takes what the other trick sets with it.
        (
            "schedule = dict(_delete_=True, type='a')",
            "schedule = dict(_delete_=True, type='b')",
            "schedule.type ('a' and 'b')",
        ),
        (
            "schedule = dict(_delete_=True, type='a', x=1)",
            "schedule = dict(_delete_=True, type='a', y=1)",
            "schedule ({'type': 'a', 'x': 1} and {'type': 'a', 'y': 1})",
        ),
        (
            "schedule = dict(_delete_=True, type='a')",
            "schedule = dict(gamma=1)",
            "schedule ({'type': 'a'} and {'gamma': 1})",
        ),
        (
            "pipeline = dict(_delete_=True, crop=dict(type='C'))",
            "pipeline = dict(crop=dict(size=1))",
            "pipeline.crop ({'type': 'C'} and {'size': 1})",
        ),
    ],
)
def test_contradicting_tricks(folder, one, other, conflict):
    _tricks(folder, one=one, other=other)
    for names in (("one", "other"), ("one", "average", "other")):
        if "ema" in conflict and "average" in names:
            continue
        with pytest.raises(UserError) as error:
            configs.load(folder, "base", names, {})
        assert str(error.value) == f"the tricks 'one' and 'other' both set {conflict}; choose one"
    with pytest.raises(UserError, match="the tricks 'other' and 'one' both set"):
        configs.load(folder, "base", ("other", "one"), {})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("lr = 1", "epochs = 2\nlr = 1"),
        ("schedule = dict(gamma=1)", "schedule = dict(milestones=[1])"),
        ("ema = dict(a=1)", "ema = dict(b=2)"),
        (
            "schedule = dict(_delete_=True, type='a', x=1)",
            "schedule = dict(_delete_=True, type='a', x=1)",
        ),
        ("schedule = dict(_delete_=True, type='a', x=1)", "schedule = dict(x=1)"),
        ("pipeline = dict()", "pipeline = dict(crop=dict(size=1))"),
    ],
)
def test_agreeing_tricks(folder, one, other):
    _tricks(folder, one=one, other=other)
    forth = configs.load(folder, "base", ("one", "other", "one"), {})
    back = configs.load(folder, "base", ("other", "one"), {})
    assert forth.to_dict() == back.to_dict()
    assert "_delete_" not in repr(forth.to_dict())


def test_delete_without_base_dict(folder):
    text = "schedule = dict(warm=dict(_delete_=True, x=dict(_delete_=True, y=1)))"
    loaded = configs.load(folder, "base", _tricks(folder, fresh=text), {})
    assert loaded.schedule.to_dict() == {
        "type": "step",
        "milestones": [30, 60],
        "gamma": 0.1,
        "warm": {"x": {"y": 1}},
    }


def _task_tricks(folder):
    return [p.stem for p in sorted((ROOT / folder / "configs" / "tricks").glob("*.py"))]


@pytest.mark.parametrize("trick", _task_tricks("cls_train"))
def test_every_cls_trick_with_both_recipes(trick):
    folder = ROOT / "cls_train" / "configs"
    for recipe in ("standard", "efficient"):
        own = tuple(runpy.run_path(str(folder / "recipes" / f"{recipe}.py"))["tricks"])
        configs.load(folder, "mini", (*own, trick), {})


@pytest.mark.parametrize(("task", "name"), [("det", "voc0712"), ("seg", "ade20k")])
@pytest.mark.parametrize(
    ("trick", "keys"),
    [("clip_grad_norm", {"type", "max_norm"}), ("clip_grad_value", {"type", "clip_value"})],
)
def test_clipping_without_base_value(task, name, trick, keys):
    loaded = configs.load(
        ROOT / task / "configs",
        name,
        (trick,),
        {},
        trick_folders=[ROOT / folder for folder in TASKS[task].tricks],
        short_keys=OPTIMISER_KEYS,
    )
    assert loaded.optim_wrapper.clip_grad.keys() == keys


@pytest.mark.parametrize("name", ["base", "base.py"])
def test_name_means_file_of_folder(folder, name):
    assert configs.find(folder, name, "config") == folder / "base.py"


def test_path_means_itself(folder, tmp_path):
    own = tmp_path / "tricks" / "longer.py"
    assert configs.find(folder, str(own), "config") == own
    assert configs.names(folder) == ["base", "broken", "nameless", "orphan", "raising", "small"]


def test_overrides_reach_dicts_and_lists(folder):
    values = {"pipeline.crop.size": 96, "steps.1.size": 7, "pipeline.flip": None}
    loaded = configs.load(folder, "base", (), values)
    assert loaded.pipeline.crop.size == 96
    assert loaded.steps == [dict(type="A"), dict(type="B", size=7)]
    assert loaded.pipeline.flip is None


def test_dict_replaces_none(folder):
    by_trick = configs.load(folder, "base", ("average",), {})
    by_hand = configs.load(folder, "base", (), {"ema": {"type": "Average", "momentum": 0.1}})
    for loaded in (by_trick, by_hand):
        assert loaded.ema.to_dict() == {"type": "Average", "momentum": 0.1}


@pytest.mark.parametrize(
    ("name", "tricks", "overrides", "sentence"),
    [
        ("bsae", (), {}, "unknown config 'bsae'; did you mean 'base'"),
        ("bsae.py", (), {}, "unknown config 'bsae.py'; known: base, broken"),
        ("base", ("cosin",), {}, "unknown trick 'cosin'; did you mean 'cosine'"),
        ("base", ("misspelt",), {}, "key in trick 'misspelt': 'schedul'; did you mean 'schedule'"),
        ("base", ("misfit",), {}, "the trick 'misfit' does not fit the config"),
        ("base", (), {"epoch": 1}, "unknown config key 'epoch'; did you mean 'epochs'"),
        (
            "base",
            (),
            {"pipeline.crop.sise": 1},
            "unknown config key 'pipeline.crop.sise'; did you mean 'pipeline.crop.size'",
        ),
        ("base", (), {"lr.rate": 1}, "unknown config key 'lr.rate'; known: none"),
        ("base", (), {"schedule.milestones.2": 1}, "unknown config key 'schedule.milestones.2'"),
        ("base", (), {"epochs": "two"}, "--set epochs=two gives a word where 120 stands"),
        ("base", (), {"lr": {"a": 1}}, "--set lr does not fit the config"),
        ("base", (), {"schedule.milestones.1": 9}, "--set schedule.milestones.1 does not fit"),
        ("broken", (), {}, "broken.py cannot be read .*SyntaxError"),
        (
            "raising",
            (),
            {},
            "raising.py cannot be read .ZeroDivisionError: division by zero.; repair",
        ),
        ("orphan", (), {}, "orphan.py cannot be read .*absent.py"),
        ("nameless", (), {}, "nameless.py cannot be read .*name 'rate' is not defined"),
    ],
)
def test_mistakes(folder, name, tricks, overrides, sentence):
    with pytest.raises(UserError, match=sentence):
        configs.load(folder, name, tricks, overrides)


def test_string_replaces_string(folder):
    assert configs.load(folder, "base", (), {"name": "other"}).name == "other"


def test_unread_key(folder):
    read = ["lr", "epochs", "name", "schedule", "pipeline", "ema", "steps"]
    configs.check_file_keys(folder / "base.py", read)
    configs.check_file_keys(folder / "small.py", read)
    helper = folder / "helper.py"
    helper.write_text('_base_ = "base.py"\nepoch = 6\nlr = epoch / 10\n')
    with pytest.raises(
        UserError, match=r"config key in helper\.py: 'epoch'; did you mean 'epochs'"
    ):
        configs.check_file_keys(helper, read)


def test_invalid_python_is_reported_before_keys(folder):
    with pytest.raises(UserError, match=r"broken\.py cannot be read .SyntaxError"):
        configs.check_file_keys(folder / "broken.py", ["lr"])


def test_runner_keys():
    keys = configs.runner_keys()
    assert {"model", "train_cfg", "param_scheduler", "budgets", "custom_hooks"} <= keys
    assert not keys & {"self", "max_epochs", "lr"}


GOOD = {
    "mmengine": dict(
        model=dict(type="ImgDataPreprocessor", mean=[1, 2, 3], std=[1, 2, 3]),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9)),
        param_scheduler=[dict(type="MultiStepLR", milestones=[1], gamma=0.1, by_epoch=True)],
    ),
    "mmdet": dict(
        model=dict(
            neck=dict(type="FPN", in_channels=[8, 16], out_channels=8, num_outs=2),
            head=[dict(loss=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0))],
        )
    ),
    "mmseg": dict(
        model=dict(
            decode_head=dict(
                type="FCNHead",
                in_channels=8,
                channels=4,
                num_classes=2,
                loss_decode=dict(type="CrossEntropyLoss", loss_weight=1.0),
            )
        )
    ),
}


@pytest.mark.parametrize("scope", GOOD)
def test_valid_arguments(scope):
    configs.check_arguments(Config(GOOD[scope]), scope)


@pytest.mark.parametrize(
    ("scope", "path", "sentence"),
    [
        (
            "mmengine",
            "optim_wrapper.optimizer.momentun",
            "key in optim_wrapper.optimizer: 'momentun'; did you mean 'momentum'",
        ),
        (
            "mmengine",
            "param_scheduler.0.gama",
            r"key in param_scheduler\[0\]: 'gama'; did you mean 'gamma'",
        ),
        ("mmengine", "model.meen", "key in model: 'meen'; did you mean 'mean'"),
        (
            "mmdet",
            "model.neck.out_channel",
            "key in model.neck: 'out_channel'; did you mean 'out_channels'",
        ),
        (
            "mmdet",
            "model.head.0.loss.use_sigmod",
            r"key in model.head\[0\].loss: 'use_sigmod'; did you mean 'use_sigmoid'",
        ),
        (
            "mmseg",
            "model.decode_head.num_convz",
            "key in model.decode_head: 'num_convz'; did you mean 'num_convs'",
        ),
        (
            "mmseg",
            "model.decode_head.loss_decode.loss_wait",
            "key in model.decode_head.loss_decode: 'loss_wait'; did you mean 'loss_weight'",
        ),
    ],
)
def test_misspelt_nested_argument(scope, path, sentence):
    config = Config(GOOD[scope])
    config.merge_from_dict({path: 1})
    with pytest.raises(UserError, match=sentence):
        configs.check_arguments(config, scope)


def test_misspelt_arguments_are_collected():
    config = Config(dict(a=dict(type="SGD", lrr=1), b=dict(type="SGD", momentm=1)))
    with pytest.raises(UserError) as caught:
        configs.check_arguments(config, "mmengine")
    assert "'lrr'" in str(caught.value)
    assert "'momentm'" in str(caught.value)
