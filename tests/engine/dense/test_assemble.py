"""From options to a network: the backbone, the trained parts, and refused keys."""

from dataclasses import replace

import pytest
import safetensors.torch
import torch
from mmengine.config import Config

import backbones
from backbones import read_metadata
from contract.errors import UserError
from engine.cli import Options
from engine.dense.transfer import describe_batch_norm, wire_backbone
from engine.job import Job
from engine.runner.precision import choose_precision

IMAGENET = ((123.68, 116.779, 103.939), (58.393, 57.12, 57.375))
ONE = pytest.mark.parametrize("world", ["det"], indirect=True)


@pytest.mark.parametrize("config", ["mini", "full"])
def test_random_weights_train_whole(world, config):
    config = world.assembled(world.full if config == "full" else config)
    backbone = world.build(config).train().backbone
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    assert all(module.training for module in backbone.modules())
    words = world.task.protocol(config)["backbone"]
    assert words.endswith("batch norm trained, no frozen stages")


def test_freezing_needs_pretrained_weights(world, checkpoint):
    own = world.own_config("batch_norm = 'frozen'\nmodel = dict(backbone=dict(frozen_stages=1))")
    free = world.build(world.assembled(own)).train().backbone
    assert all(parameter.requires_grad for parameter in free.parameters())
    assert all(module.training for module in free.modules())
    config = world.assembled(own, checkpoint=checkpoint)
    assert config.model.backbone.spec == "resnet10_d-w8"
    kept = world.build(config).train().backbone
    frozen = {n.split(".")[0] for n, p in kept.net.named_parameters() if not p.requires_grad}
    trained = {n.split(".")[0] for n, p in kept.net.named_parameters() if p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}
    assert trained == {"layer2", "layer3", "layer4"}
    norms = [m for m in kept.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)
    words = world.task.protocol(config)["backbone"]
    assert words.endswith("batch norm frozen statistics, stem and 1 stage(s) frozen")


def test_batch_norm_policies(world, checkpoint, tmp_path, monkeypatch):
    own = world.own_config("batch_norm = 'frozen'\nmodel = dict(backbone=dict(frozen_stages=1))")
    assert world.assembled(own, checkpoint=checkpoint).model.backbone.norm_eval
    trained = world.assembled(own, checkpoint=checkpoint, batch_norm="trained")
    assert not trained.model.backbone.norm_eval
    words = "batch norm trained, stem and 1 stage(s) frozen"
    assert world.task.protocol(trained)["backbone"].endswith(words)
    # One process has no others to synchronise with.
    alone = world.assembled(own, checkpoint=checkpoint, batch_norm="synchronised")
    assert "sync_bn" not in alone
    assert world.task.protocol(alone)["backbone"].endswith(words)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    on_cpus = _wired(checkpoint, tmp_path, "synchronised", device="cpu")
    assert "sync_bn" not in on_cpus
    together = _wired(checkpoint, tmp_path, "synchronised")
    assert together.sync_bn == "torch"
    assert describe_batch_norm(together).startswith("batch norm synchronised over 4 GPUs")


def _wired(checkpoint, tmp_path, policy, device="cuda"):
    """A config after the backbone's part of the assembly, without a query to a device."""
    options = Options(config="mini", data=tmp_path, work_dir=tmp_path, checkpoint=checkpoint)
    job = Job(options, "resnet10_d-w8", read_metadata(checkpoint), choose_precision("fp32", device))
    config = Config(dict(batch_norm=policy, model=dict(backbone=dict())))
    wire_backbone(job, config)
    return config


def test_wrong_batch_norm(world):
    with pytest.raises(UserError, match="unknown batch_norm 'frozn'; did you mean 'frozen'"):
        world.assembled(batch_norm="frozn")
    own = world.own_config("model = dict(backbone=dict(norm_eval=True))")
    with pytest.raises(UserError, match="batch_norm decides it: write batch_norm = 'frozen'"):
        world.assembled(own)


def _first_pixel(world, config):
    """The network's input for an image of red 30, green 20, blue 10."""
    model = world.build(config)
    bgr = torch.tensor([10, 20, 30], dtype=torch.uint8)[:, None, None].expand(3, 32, 32)
    return model.data_preprocessor({"inputs": [bgr], "data_samples": None})["inputs"][0, :, 0, 0]


def test_random_weights_use_imagenet_normalisation(world):
    expected = [(p - m) / s for p, m, s in zip((30, 20, 10), *IMAGENET, strict=True)]
    assert _first_pixel(world, world.assembled()).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("order", "pixel"), [("RGB", (30, 20, 10)), ("BGR", (10, 20, 30))])
def test_pretrained_weights_use_their_normalisation(
    world, tmp_path, checkpoint_metadata, order, pixel
):
    path = tmp_path / "other.safetensors"
    metadata = replace(checkpoint_metadata, channel_order=order)
    backbones.export_checkpoint(backbones.create("resnet10_d-w8"), path, metadata)
    expected = [(p - m) / s for p, m, s in zip(pixel, (101, 102, 103), (51, 52, 53), strict=True)]
    assert _first_pixel(world, world.assembled(checkpoint=path)).tolist() == pytest.approx(expected)


def test_built_backbone_equals_file(world, checkpoint):
    stored = safetensors.torch.load_file(checkpoint)
    built = world.build(world.assembled(checkpoint=checkpoint)).backbone.net.state_dict()
    assert built.keys() == stored.keys()
    assert all(torch.equal(built[name], tensor) for name, tensor in stored.items())


@ONE
def test_shifted_maps_are_refused(world):
    with pytest.raises(
        UserError, match=r"off by pixels; take inception_v3-x0\.25, trained as such"
    ):
        world.assembled(backbone="inception_v3-x0.25-valid")


def test_unread_key_in_own_config(world):
    with pytest.raises(UserError) as error:
        world.assembled(world.own_config("image_scal = (64, 64)"))
    message = "unknown config key in own.py: 'image_scal'; did you mean 'image_scale'?"
    assert message in str(error.value)


def test_runner_gets_plain_config(world):
    config = world.assembled()
    assert isinstance(config, Config)
    own = {"image_scale", "box_min_size", "budgets", "crop_size", "lr", "weight_decay"}
    assert not (own | {"clip_grad", "ema", "holdout"}) & set(config)
    assert "SyncBN" not in str(config.model)


def test_job_with_random_weights(tmp_path):
    options = Options(config="mini", data=tmp_path, work_dir=tmp_path, backbone="resnet10_b")
    assert not Job(options, "resnet10_b", None, choose_precision("fp32", "cpu")).pretrained


def _optimiser(config):
    wrapper = config.optim_wrapper
    return wrapper.optimizer.lr, wrapper.optimizer.weight_decay, wrapper.get("clip_grad")


def test_short_and_full_names_are_equal(world):
    long = {"optim_wrapper.optimizer.lr": 0.3, "optim_wrapper.optimizer.weight_decay": 0.5}
    assert _optimiser(world.assembled(lr=0.3, weight_decay=0.5)) == _optimiser(
        world.assembled(**long)
    )
    lr, decay, _ = _optimiser(world.assembled(**long))
    assert (lr, decay) == (0.3, 0.5)
    clipped = world.assembled(world.full, clip_grad={"type": "norm", "max_norm": 2.0})
    assert clipped.optim_wrapper.clip_grad == dict(type="norm", max_norm=2.0)
    with pytest.raises(
        UserError, match=r"--set lr=0\.3 and --set optim_wrapper\.optimizer\.lr=0\.4"
    ):
        world.assembled(**{"lr": 0.3, "optim_wrapper.optimizer.lr": 0.4})


@pytest.mark.parametrize(
    "text", ["lr = 0.07", "optim_wrapper = dict(optimizer=dict(lr=0.07))"], ids=["short", "full"]
)
def test_own_config_sets_lr_by_either_name(world, text):
    own = world.own_config(text)
    assert world.assembled(own).optim_wrapper.optimizer.lr == 0.07
    assert world.assembled(own, lr=0.08).optim_wrapper.optimizer.lr == 0.08
    full = {"optim_wrapper.optimizer.lr": 0.09}
    assert world.assembled(own, **full).optim_wrapper.optimizer.lr == 0.09


def test_own_config_with_another_optimiser(world):
    own = world.own_config("optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=1))")
    assert world.assembled(own).optim_wrapper.optimizer == dict(type="Adam", lr=1)
