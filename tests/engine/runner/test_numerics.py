"""TF32, cuDNN's benchmark mode and deterministic algorithms: which settings a run has, and when."""

import os
import warnings

import pytest
import torch
from support.runners import bare_runner

from engine.runner import numerics
from engine.runner.numerics import NUMERICS, Numerics, NumericsHook, choose_numerics
from engine.runner.precision import Precision


@pytest.fixture(autouse=True)
def usual_settings(monkeypatch):
    """Start without a workspace for cuBLAS, and end as every task starts."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    numerics.start(deterministic=False)


def _settings():
    """Whether float32 products and convolutions use TF32, and whether cuDNN searches."""
    return (
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
    )


IEEE = (False, False, False)


@pytest.mark.parametrize(
    ("dtype", "device", "one_shape", "deterministic", "expected"),
    [
        ("float32", "cuda", True, False, Numerics(False, True, False)),
        ("tf32", "cuda", True, False, Numerics(True, True, False)),
        ("bfloat16", "cuda", False, False, Numerics(False, False, False)),
        ("float32", "cuda", True, True, Numerics(False, False, True)),
        ("float32", "cpu", True, False, Numerics(False, False, False)),
    ],
)
def test_choice(dtype, device, one_shape, deterministic, expected):
    chosen = choose_numerics(
        Precision(dtype, device, ""), one_shape=one_shape, deterministic=deterministic
    )
    assert chosen == expected


def test_words():
    assert str(Numerics(True, False, False)) == (
        "TF32 on in training, cuDNN benchmark off, deterministic algorithms off"
    )


def test_float32_is_ieee_from_the_start():
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    numerics.start(deterministic=False)
    assert _settings() == IEEE
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_only_training_has_tf32_and_benchmark(request):
    runner, hook = bare_runner(request.node.name), NumericsHook(Numerics(True, True, False))
    numerics.start(deterministic=False)
    seen = []
    for stage in ("before_train", "before_train_epoch", "before_val", "after_val", "after_train"):
        getattr(hook, stage)(runner)
        seen.append(_settings())
    training = (True, True, True)
    assert seen == [IEEE, training, IEEE, training, IEEE]


def test_deterministic_algorithms_warn_and_are_recorded(request):
    numerics.start(deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.backends.cudnn.deterministic
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"

    runner = bare_runner(request.node.name, register_hook=lambda hook: None)
    with (
        pytest.warns(UserWarning, match="something else"),
        numerics.recorded(runner, Numerics(False, False, True)),
    ):
        for name in ("upsample_backward", "nll_loss2d", "upsample_backward"):
            warnings.warn(
                f"{name} does not have a deterministic implementation, but you set 'torch.use_de…",
                stacklevel=1,
            )
        warnings.warn("something else", stacklevel=1)
    found = runner.message_hub.runtime_info[NUMERICS]
    assert found["deterministic"]
    assert found["nondeterministic"] == ["upsample_backward", "nll_loss2d"]
    (note,) = numerics.notes(found)
    assert "no deterministic form of upsample_backward, nll_loss2d; a repetition" in note


def test_torch_words_its_warning_as_expected(request):
    # An op without a deterministic form on any device.
    numerics.start(deterministic=True)
    runner = bare_runner(request.node.name, register_hook=lambda hook: None)
    with numerics.recorded(runner, Numerics(False, False, True)):
        torch.zeros(4).put_(torch.tensor([0, 0]), torch.ones(2), accumulate=False)
    assert runner.message_hub.runtime_info[NUMERICS]["nondeterministic"] == ["put_"]


def test_compiled_mmcv_does_not_warn(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(numerics.mmcv_ops, "install", lambda: "compiled mmcv")
    runner = bare_runner(request.node.name, register_hook=lambda hook: None)
    with numerics.recorded(runner, Numerics(False, False, True)):
        pass
    (name,) = runner.message_hub.runtime_info[NUMERICS]["nondeterministic"]
    assert "compiled mmcv" in name


def test_nothing_is_noted_unless_asked_for(request):
    runner = bare_runner(request.node.name, register_hook=lambda hook: None)
    with numerics.recorded(runner, Numerics(False, True, False)):
        pass
    found = runner.message_hub.runtime_info[NUMERICS]
    assert found == dict(tf32=False, cudnn_benchmark=True, deterministic=False, nondeterministic=[])
    assert numerics.notes(found) == []
