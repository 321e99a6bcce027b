"""Short names of settings: the nearest layer counts, and one layer gives one value."""

import pytest

from contract.errors import UserError
from engine import config as configs
from engine.short_keys import OPTIMISER_KEYS

BASE = """
lr = 0.1
weight_decay = 0.5
clip_grad = None
optim_wrapper = dict(optimizer=dict(type="SGD", lr=None, weight_decay=None, momentum=0.9))
"""


@pytest.fixture
def load(tmp_path):
    """Load the last of a chain of configs that inherit from each other."""

    def run(*texts, tricks=(), **overrides):
        for number, text in enumerate([BASE, *texts]):
            base = f"_base_ = 'c{number - 1}.py'\n" if number else ""
            (tmp_path / f"c{number}.py").write_text(base + text)
        folder = tmp_path / "tricks"
        folder.mkdir(exist_ok=True)
        for number, text in enumerate(tricks):
            (folder / f"t{number}.py").write_text(text)
        names = tuple(f"t{number}" for number in range(len(tricks)))
        config = configs.load(
            tmp_path, f"c{len(texts)}", names, overrides, short_keys=OPTIMISER_KEYS
        )
        assert not OPTIMISER_KEYS.keys() & config.keys()
        return config.optim_wrapper

    return run


FULL = "optim_wrapper = dict(optimizer=dict(lr={}))"


def test_short_names_fill_open_keys(load):
    assert load() == dict(optimizer=dict(type="SGD", lr=0.1, weight_decay=0.5, momentum=0.9))


@pytest.mark.parametrize(
    ("chain", "rate"),
    [
        (["lr = 0.2"], 0.2),
        ([FULL.format(0.3)], 0.3),
        # The nearest file counts, under whichever name.
        ([FULL.format(0.3), "lr = 0.2"], 0.2),
        (["lr = 0.2", FULL.format(0.3)], 0.3),
        ([FULL.format(0.3), "weight_decay = 0.4"], 0.3),
        (["lr = 0.2", "weight_decay = 0.4"], 0.2),
        # Another key of the same dict decides nothing.
        (["lr = 0.2", "optim_wrapper = dict(optimizer=dict(momentum=0.8))"], 0.2),
        (["lr = 0.2\n" + FULL.format(0.2)], 0.2),
    ],
)
def test_nearest_file_wins(load, chain, rate):
    assert load(*chain).optimizer.lr == rate


def test_another_optimiser_inherits_nothing(load):
    adam = "optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=1e-3))"
    assert load(adam).optimizer == dict(type="Adam", lr=1e-3)
    assert load(adam, weight_decay=0.2).optimizer == dict(type="Adam", lr=1e-3, weight_decay=0.2)
    assert load(adam + "\nlr = 1e-3").optimizer == dict(type="Adam", lr=1e-3)
    clipped = load("clip_grad = dict(_delete_=True, max_norm=3)", adam)
    assert clipped.clip_grad == dict(max_norm=3)


def test_later_layers_win(load):
    full = {"optim_wrapper.optimizer.lr": 0.7}
    assert load(FULL.format(0.3), tricks=["lr = 0.4"]).optimizer.lr == 0.4
    assert load("lr = 0.3", tricks=[FULL.format(0.4)]).optimizer.lr == 0.4
    assert load(tricks=[FULL.format(0.4)], lr=0.6).optimizer.lr == 0.6
    assert load(tricks=["lr = 0.4"], **full).optimizer.lr == 0.7


def test_clipping_without_base_value(load):
    assert "clip_grad" not in load()
    bound = dict(type="value", clip_value=0.1)
    assert load(clip_grad=bound).clip_grad == bound
    trick = "clip_grad = dict(_delete_=True, type='value', clip_value=0.1)"
    assert load(tricks=[trick]).clip_grad == bound
    assert load(tricks=[trick], **{"clip_grad.clip_value": 0.2}).clip_grad.clip_value == 0.2


@pytest.mark.parametrize(
    ("chain", "tricks", "overrides", "message"),
    [
        (
            ["lr = 0.2\n" + FULL.format(0.3)],
            (),
            {},
            "c1.py sets both lr=0.2 and optim_wrapper.optimizer.lr=0.3, which are one setting; set one",
        ),
        (
            [],
            ["lr = 0.2\n" + FULL.format(0.3)],
            {},
            "the trick 't0' sets both lr=0.2 and optim_wrapper.optimizer.lr=0.3, which are one setting",
        ),
        (
            [],
            ["lr = 0.2", FULL.format(0.3)],
            {},
            "the tricks 't0' and 't1' both set optim_wrapper.optimizer.lr (0.2 and 0.3); choose one",
        ),
        (
            [],
            (),
            {"lr": 0.2, "optim_wrapper.optimizer.lr": 0.3},
            "--set lr=0.2 and --set optim_wrapper.optimizer.lr=0.3 are one setting; give it once",
        ),
        ([], (), {"lr": None}, "lr is None; expected a number, such as --set lr=0.01"),
        ([], (), {"lr": "fast"}, "--set lr=fast gives a word where 0.1 stands"),
        ([], (), {"lr.x": 1}, "unknown config key 'optim_wrapper.optimizer.lr.x'"),
    ],
)
def test_contradictions_and_mistakes(load, chain, tricks, overrides, message):
    with pytest.raises(UserError) as error:
        load(*chain, tricks=tricks, **overrides)
    assert message in str(error.value)
