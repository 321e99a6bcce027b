"""Recipes and tricks: each loads, matches its source, and changes what it names."""

from pathlib import Path

import pytest
from mmengine.optim import build_optim_wrapper
from torch import nn

import backbones
from cls_train.assemble import CONFIGS, _known_keys, assemble, load_recipe, optimiser_config
from contract.errors import UserError
from contract.settings import ROOT
from engine import config as configs
from engine.cli import Options
from engine.job import Job
from engine.runner.precision import Precision
from engine.task import prepare

PLAIN = Precision("float32", "cpu", "test")

# Every key that a trick changes in the config for ImageNet, and its value there; the paper's are §3.1, §5 and Table 3.
ERASING = dict(type="Erasing", p=0.5, scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3))
TRICKS = {
    "adabound": {
        "optimizer": dict(type="AdaBound", final_lr=0.1, gamma=1e-3, weight_decouple=False),
        "lr": 1e-3,
    },
    "adam": {"optimizer": dict(type="Adam", betas=(0.9, 0.999)), "lr": 1e-3},
    "auto_augment": {"train_pipeline.policy": dict(type="AutoAugment")},
    "clip_grad_norm": {"clip_grad": dict(type="norm", max_norm=1.0)},
    "clip_grad_value": {"clip_grad": dict(type="value", clip_value=0.1)},
    "color_jitter": {
        "train_pipeline.jitter": dict(
            type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4
        )
    },
    "cosine": {"schedule": dict(type="cosine")},
    "cutmix": {"batch_mixing.cutmix": dict(type="CutMix", alpha=1.0)},
    "cutout": {"train_pipeline.cutout": dict(type="Cutout", size=0.5)},
    "distillation": {"distillation": dict(temperature=20.0, label_weight=1.0, teacher_weight=1.0)},
    "distillation_gluoncv": {
        "distillation": dict(temperature=20.0, label_weight=0.5, teacher_weight=0.5)
    },
    "dropout": {"dropout": 0.2},
    "early_stopping": {
        "early_stopping": dict(monitor="top1", rule="greater", min_delta=0.1, patience=3)
    },
    "ema": {"ema": dict(type="EpochEMAHook", epochs=1.0)},
    "exponential": {"schedule": dict(type="exponential", gamma=0.94)},
    "focal_loss": {"loss": dict(type="SoftmaxFocalLoss", gamma=2.0)},
    "image_299": {"image_size": 299},
    "kaiming": {"initialisation": "kaiming_normal"},
    "l1": {"penalties.l1": dict(type="WeightPenalty", power=1, weight=1e-5)},
    "l2": {
        "penalties.l2": dict(type="WeightPenalty", power=2, weight=1e-4),
        "weight_decay": 0.0,
    },
    "label_smoothing": {"label_smoothing.epsilon": 0.1},
    "large_batch": {"batch_size_factor": 1024 // 256},
    "lars": {
        "optimizer": dict(type="Lars", momentum=0.9, nesterov=True, trust_coeff=0.001),
        "lr": 3.0,
    },
    "linear_scaling": {"lr_scaling": "linear"},
    "mixup": {"batch_mixing.mixup": dict(type="Mixup", alpha=0.2), "epochs_factor": 200 / 120},
    "no_bias_decay": {"decay_one_dimensional": False},
    "polynomial": {"schedule": dict(type="polynomial", power=2.0)},
    "rand_augment": {"train_pipeline.policy": dict(type="RandAugment", num_ops=2, magnitude=9)},
    "random_erasing": {"train_pipeline.erasing": {**ERASING, "fill": "noise"}},
    "random_erasing_constant": {"train_pipeline.erasing": {**ERASING, "fill": "constant"}},
    "random_erasing_mean": {"train_pipeline.erasing": {**ERASING, "fill": "mean"}},
    "ricap": {"batch_mixing.ricap": dict(type="RICAP", beta=0.3)},
    "rotation": {"train_pipeline.rotation": dict(type="RandomRotation", degrees=10)},
    "step_cosine": {"schedule": dict(type="step_cosine", milestones=[0.25], gamma=0.1, switch=0.5)},
    "step_every": {"schedule": dict(type="step_every", every=8 / 120, gamma=0.96)},
    "trivial_augment": {"train_pipeline.policy": dict(type="TrivialAugmentWide")},
    "warmup": {"warmup": True},
    "zero_gamma": {"zero_gamma": True},
}


def _job(data=Path("unused"), config="imagenet", spec="resnet10_b-w8", **options):
    made = Options(config=config, work_dir=Path("unused"), data=data, **options)
    return Job(made, spec, None, PLAIN)


def test_trick_list_is_complete():
    assert configs.names(CONFIGS / "tricks") == sorted(TRICKS)
    assert configs.names(CONFIGS / "recipes") == ["efficient", "standard"]
    assert configs.names(CONFIGS) == ["imagenet", "mini"]


def _at(values, dotted):
    """The value at a dotted key, and the values without it."""
    key, _, rest = dotted.partition(".")
    if not rest:
        return values.get(key), {k: v for k, v in values.items() if k != key}
    found, others = _at(values[key], rest)
    return found, {**values, key: others}


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("config", ["imagenet", "mini"])
def test_trick_changes_only_its_keys(config, trick):
    before = configs.load(CONFIGS, config, (), {}).to_dict()
    after = configs.load(CONFIGS, config, (trick,), {}).to_dict()
    for key, expected in TRICKS[trick].items():
        value, after = _at(after, key)
        assert value == expected
        old, before = _at(before, key)
        assert old != expected
    assert after == before


def test_baseline_matches_paper():
    base = load_recipe(_job())
    assert (base.epochs, base.batch_size, base.lr) == (120, 256, 0.1)
    assert (base.optimizer.type, base.optimizer.nesterov) == ("SGD", True)
    assert base.schedule.to_dict() == dict(type="step", milestones=[0.25, 0.5, 0.75], gamma=0.1)
    assert base.warmup_epochs == 5
    assert base.normalisation.to_dict() == dict(
        mean=(123.68, 116.779, 103.939), std=(58.393, 57.12, 57.375)
    )
    assert (base.warmup, base.zero_gamma, base.decay_one_dimensional) == (False, False, True)
    assert base.label_smoothing.epsilon == 0
    assert base.initialisation == "xavier_uniform"


def test_efficient_recipe_matches_table_3():
    recipe = load_recipe(_job(recipe="efficient"))
    assert recipe.batch_size * recipe.batch_size_factor == 1024
    assert optimiser_config(recipe)["optimizer"]["lr"] == pytest.approx(0.4)
    assert (recipe.warmup, recipe.zero_gamma, recipe.decay_one_dimensional) == (True, True, False)
    assert recipe.schedule.type == "step"


def test_mixup_epochs_and_trick_order():
    recipe = load_recipe(_job(recipe="efficient", tricks=("cosine", "mixup")))
    assert round(recipe.epochs * recipe.epochs_factor) == 200
    assert recipe.schedule.to_dict() == dict(type="cosine")


def test_override_wins():
    recipe = load_recipe(_job(recipe="efficient", overrides={"warmup": False, "lr": 0.3}))
    assert (recipe.warmup, recipe.lr) == (False, 0.3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (dict(recipe="efficent"), "unknown recipe 'efficent'; did you mean 'efficient'"),
        (dict(tricks=("mixupp",)), "unknown trick 'mixupp'; did you mean 'mixup'"),
        (dict(config="imagnet"), "unknown config 'imagnet'; did you mean 'imagenet'"),
        (dict(overrides={"epocs": 1}), "unknown config key 'epocs'; did you mean 'epochs'"),
    ],
)
def test_unknown_names(options, sentence):
    with pytest.raises(UserError, match=sentence):
        load_recipe(_job(**options))


def test_config_helper_variable_is_refused(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(f'_base_ = "{CONFIGS}/imagenet.py"\nepoch = 3\n')
    with pytest.raises(UserError, match=r"config key in own\.py: 'epoch'; did you mean 'epochs'"):
        load_recipe(_job(config=str(path)))


def test_invalid_python_config(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("epochs = = 3\n")
    with pytest.raises(UserError, match=r"own\.py cannot be read .SyntaxError"):
        load_recipe(_job(config=str(path)))


def test_every_base_key_is_read():
    files = ("cls_train/assemble.py", "cls_train/train.py", "cls_train/distillation.py")
    source = "".join(
        (ROOT / file).read_text(encoding="utf-8") for file in (*files, "engine/image_folder.py")
    )
    unread = [key for key in _known_keys() if f"recipe.{key}" not in source]
    by_name = [key for key in unread if f'"{key}"' in source]
    assert set(by_name) == set(unread)


# ResNet-50-D and ResNet-18-B written out: every convolution is followed by a norm, whose γ and β
# are one-dimensional; the head has a bias.
def _norms_50_d():
    yield from ("conv1.1", "conv1.4", "bn1")
    for stage, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for block in range(blocks):
            yield from (f"layer{stage}.{block}.bn{k}" for k in (1, 2, 3))
        yield f"layer{stage}.0.downsample"


def _norms_18_b():
    yield "bn1"
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            yield from (f"layer{stage}.{block}.bn{k}" for k in (1, 2))
        if stage > 1:
            yield f"layer{stage}.0.downsample"


class _Network(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.net = backbones.create(spec)
        self.head = nn.Linear(self.net.feature_info[-1].channels, 3)


@pytest.mark.parametrize(
    ("spec", "norms", "convolutions"),
    [("resnet50_d", _norms_50_d, 55), ("resnet18_b", _norms_18_b, 20)],
)
def test_parameters_without_decay(spec, norms, convolutions):
    model = _Network(spec)
    wrapper = build_optim_wrapper(
        model, optimiser_config(load_recipe(_job(tricks=("no_bias_decay",))))
    )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decays = {
        names[id(group["params"][0])]: group["weight_decay"]
        for group in wrapper.optimizer.param_groups
    }
    assert set(decays) == set(names.values())
    assert set(decays.values()) == {0.0, 1e-4}
    free = {name for name, decay in decays.items() if decay == 0}
    # A downsampling path's norm has a number of its own after the name.
    without_number = {
        name.removeprefix("net.")
        .rsplit(".", 1)[0]
        .replace("downsample.1", "downsample")
        .replace("downsample.2", "downsample")
        for name in free - {"head.bias"}
    }
    assert "head.bias" in free
    assert without_number == set(norms())
    assert len(free) == 2 * len(list(norms())) + 1
    assert len(decays) - len(free) == convolutions + 1


def test_default_decays_all_parameters():
    wrapper = build_optim_wrapper(_Network("resnet10_b-w8"), optimiser_config(load_recipe(_job())))
    assert {group["weight_decay"] for group in wrapper.optimizer.param_groups} == {1e-4}


def test_assembled_config(image_folder):
    job = _job(image_folder, recipe="efficient", tricks=("label_smoothing", "mixup", "cosine"))
    config = assemble(job)
    # The statistics' images; `engine.runner.batch` makes the step of the whole batch.
    assert config.train_dataloader.batch_size == 128
    assert config.auto_scale_lr.base_batch_size == 1024
    assert config.train_dataloader.drop_last
    assert config.train_cfg.max_epochs == 200
    model = config.model
    assert model.num_classes == 3
    assert model.targets.to_dict() == dict(type="SmoothedTargets", epsilon=0.1, off_target="paper")
    assert [m.to_dict() for m in model.mixing] == [dict(type="Mixup", alpha=0.2)]
    assert model.zero_gamma
    steps = [step["type"] for step in config.train_dataloader.dataset.pipeline]
    assert steps == ["RandomResizedCrop", "RandomHorizontalFlip", "ColorJitter", "PCANoise"]
    assert config.val_dataloader.dataset.classes == ["c0", "c1", "c2"]


@pytest.mark.parametrize(
    ("overrides", "images"),
    [
        ({}, 32),
        # The statistics of 128 of 1,024 images.
        ({"batch_size_factor": 4}, 128),
        ({"batch_size": 8}, 8),
        ({"batch_norm_images": 64}, 64),
        ({"batch_norm_images": None}, 256),
    ],
)
def test_batch_statistics_are_those_of_a_published_device(image_folder, overrides, images):
    config = assemble(_job(image_folder, overrides=overrides))
    assert config.train_dataloader.batch_size == images


def test_smaller_passes_also_test_fewer_images(image_folder):
    assert assemble(_job(image_folder)).val_dataloader.batch_size == 128
    small = assemble(_job(image_folder, overrides={"device_batch_size": 16}))
    assert small.val_dataloader.batch_size == 16
    assert small.device_batch_size == 16


@pytest.mark.parametrize("value", ["x", 0])
def test_device_batch_size_is_a_number(image_folder, value):
    with pytest.raises(UserError, match=r"device_batch_size=.* expected the most images"):
        assemble(_job(image_folder, overrides={"device_batch_size": value}))


@pytest.mark.parametrize("images", [1, 0, True, 2.5])
def test_batch_norm_images_is_a_number(image_folder, images):
    with pytest.raises(UserError, match=r"batch_norm_images=.* expected a number of at least 2"):
        assemble(_job(image_folder, overrides={"batch_norm_images": images}))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "train_pipeline = dict(crp=dict(size=64))",
            "slot without a type in train_pipeline: 'crp'; did you mean 'crop'",
        ),
        (
            "batch_mixing = dict(mixup=dict(alpha=0.2))",
            "slot without a type in batch_mixing: 'mixup'; known: none",
        ),
    ],
)
def test_misnamed_slot(image_folder, tmp_path, text, sentence):
    path = tmp_path / "own.py"
    path.write_text(f'_base_ = "{CONFIGS}/imagenet.py"\n{text}\n')
    with pytest.raises(UserError, match=sentence):
        assemble(_job(image_folder, config=str(path)))


def test_empty_slot(image_folder):
    job = _job(image_folder, overrides={"train_pipeline.jitter": None})
    steps = [step["type"] for step in assemble(job).train_dataloader.dataset.pipeline]
    assert steps == ["RandomResizedCrop", "RandomHorizontalFlip", "PCANoise"]


def test_misspelt_nested_argument(image_folder):
    from cls_train.train import Classification

    overrides = {"label_smoothing": {"epsilom": 0.2}}
    with pytest.raises(
        UserError, match=r"key in model\.targets: 'epsilom'; did you mean 'epsilon'"
    ):
        prepare(Classification(), _job(image_folder, overrides=overrides))
