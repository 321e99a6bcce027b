"""From a task's config to the Runner's, and the choice of a checkpoint to resume from."""

import dataclasses
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

import backbones
from contract.errors import UserError
from engine.budget import Budget
from engine.cli import Options
from engine.resume import latest_checkpoint
from engine.runner import loader_processes
from engine.runner.learning_rate import add_multipliers
from engine.runner.precision import Precision
from engine.wiring import wire


def _config(**train_cfg):
    return Config(
        dict(
            model=dict(
                type="M",
                backbone=dict(type="TransferBackbone"),
                norm_cfg=dict(type="SyncBN", requires_grad=True),
                heads=[dict(norm_cfg=dict(type="SyncBN"))],
            ),
            train_dataloader=dict(batch_size=8, num_workers=2, dataset=dict(type="D")),
            val_dataloader=dict(batch_size=4, num_workers=2, dataset=dict(type="V")),
            test_dataloader=dict(),
            test_cfg=dict(),
            test_evaluator=dict(),
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
            train_cfg=dict(val_interval=1, **train_cfg),
            custom_hooks=[dict(type="EMAHook")],
            default_hooks=dict(checkpoint=dict(interval=50)),
        )
    )


def _wired(monkeypatch, budget=None, checkpoint=None, rank=None, device="cpu", **train_cfg):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
    config = _config(**(train_cfg or dict(max_epochs=3)))
    options = Options("c", Path("w"), Path("d"), seed=9, checkpoint=checkpoint)
    wire(config, "cls", options, Precision("bfloat16", device, "test"), budget or Budget())
    return config


def test_seeded_data_order(monkeypatch):
    config = _wired(monkeypatch)
    assert config.train_dataloader.dataset.to_dict() == dict(
        type="SeededDataset", dataset=dict(type="D"), seed=9, limit=None
    )
    assert config.train_dataloader.sampler.to_dict() == dict(
        type="SeededSampler", seed=9, shuffle=True, infinite=False
    )
    assert config.train_dataloader.persistent_workers
    assert "test_dataloader" not in config
    assert config.randomness.to_dict() == dict(seed=9)
    assert config.optim_wrapper.type == "AutocastOptimWrapper"


def test_iteration_loop_resumes_at_once(monkeypatch):
    config = _wired(monkeypatch, max_iters=30)
    assert config.train_cfg.type == "ResumableIterTrainLoop"
    assert config.train_dataloader.sampler.infinite
    # mmengine saves at the end only where the interval does not exceed the training.
    assert config.default_hooks.checkpoint.interval == 30
    assert not config.default_hooks.checkpoint.by_epoch
    assert config.default_hooks.checkpoint.minutes == 10


def test_batch_sampler_is_replayed_because_runs_resume_within_an_epoch(monkeypatch):
    own = dict(type="AspectRatioBatchSampler")
    found = []
    for train_cfg in (dict(max_iters=30), dict(max_epochs=3)):
        config = _config(**train_cfg)
        config.train_dataloader.batch_sampler = own
        options = Options("c", Path("w"), Path("d"))
        wire(config, "det", options, Precision("float32", "cpu", "test"), Budget())
        found.append(config.train_dataloader.batch_sampler.to_dict())
    assert found == [dict(type="ReplayedBatchSampler", batches=own)] * 2


def test_hooks_follow_recipe_hooks(monkeypatch):
    expected = [
        "EMAHook",
        "SeedEachIterationHook",
        "CpuTimeHook",
        "ValidationHistoryHook",
        "ProgressHook",
    ]
    losses = ["BoundedHistoryHook", "NonFiniteLossHook"]
    made = [hook.type for hook in _wired(monkeypatch).custom_hooks]
    assert made == [*expected, *losses, "DeviceBatchHook"]
    config = _wired(monkeypatch, checkpoint=Path("b.safetensors"))
    assert [hook.type for hook in config.custom_hooks] == [
        *expected,
        "LoadReportHook",
        *losses,
        "DeviceBatchHook",
    ]
    assert config.custom_hooks[-4].checkpoint == "b.safetensors"
    assert config.model.backbone.checkpoint == "b.safetensors"


def test_cudnn_benchmark_is_off_until_training_starts(monkeypatch):
    assert _wired(monkeypatch).env_cfg.cudnn_benchmark is False


def test_smoke_limits_images_and_workers(monkeypatch):
    budget = Budget(iterations=2, batch_size=3, test_images=4)
    config = _wired(monkeypatch, budget)
    train, test = config.train_dataloader, config.val_dataloader
    assert (train.batch_size, train.dataset.limit, test.dataset.limit) == (3, 6, 4)
    assert (train.num_workers, test.num_workers) == (0, 0)
    assert not train.persistent_workers
    measured = _wired(monkeypatch, dataclasses.replace(budget, workers=2))
    assert measured.train_dataloader.num_workers == 2
    assert measured.val_dataloader.num_workers == 0
    assert _wired(monkeypatch, budget, rank="0").train_dataloader.dataset.limit == 12
    assert _wired(monkeypatch, budget, max_iters=30).train_dataloader.dataset.limit is None


def test_sync_norm_needs_several_gpus(monkeypatch):
    assert _wired(monkeypatch, rank="0").model.norm_cfg.type == "BN"
    alone = _wired(monkeypatch, device="cuda").model
    assert (alone.norm_cfg.type, alone.heads[0].norm_cfg.type) == ("BN", "BN")
    together = _wired(monkeypatch, rank="0", device="cuda")
    assert together.model.norm_cfg.type == "SyncBN"
    assert together.launcher == "pytorch"


def _save(path):
    torch.save({"state_dict": {"w": torch.zeros(2000)}}, path)


def test_newest_checkpoint_by_number(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    # In the middle of the tenth epoch, and what a kill left of the end of the eleventh.
    names = ("epoch_9.pth", "epoch_9_iter_95.pth", "epoch_10.pth", "epoch_2.pth", ".epoch_11.pth")
    for name in names:
        _save(tmp_path / name)
    assert latest_checkpoint(tmp_path).name == "epoch_10.pth"
    _save(tmp_path / "epoch_10_iter_104.pth")
    assert latest_checkpoint(tmp_path).name == "epoch_10_iter_104.pth"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:2],
        lambda data: data[:100],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        # The state after a power cut: the length was written before the content.
        lambda data: bytes(len(data)),
        lambda data: b"\x80\x02garbage" + data[8:],
    ],
    ids=["empty", "magic", "head", "half", "tail", "zeros", "garbage"],
)
def test_torn_checkpoint_is_skipped(tmp_path, damage):
    for number in (4, 8):
        _save(tmp_path / f"iter_{number}.pth")
    newest = tmp_path / "iter_8.pth"
    newest.write_bytes(damage(newest.read_bytes()))
    assert latest_checkpoint(tmp_path).name == "iter_4.pth"
    (tmp_path / "iter_4.pth").unlink()
    assert latest_checkpoint(tmp_path) is None


@pytest.mark.parametrize("flat_decay_mult", [None, 0.0])
@pytest.mark.parametrize("suffix", ["", "-dcn", "-dcnv2"])
def test_dcnv2_offset_lr(flat_decay_mult, suffix):
    spec = f"resnet10_d-w8{suffix}"
    rules = {} if flat_decay_mult is None else dict(flat_decay_mult=flat_decay_mult)
    config = Config(
        dict(
            model=dict(type="M", backbone=dict(type="TransferBackbone", spec=spec)),
            train_dataloader=dict(batch_size=8, num_workers=0, dataset=dict(type="D")),
            val_dataloader=dict(batch_size=4, num_workers=0, dataset=dict(type="V")),
            optim_wrapper=dict(
                optimizer=dict(type="SGD", lr=0.5, weight_decay=0.25), paramwise_cfg=rules
            ),
            train_cfg=dict(val_interval=1, max_epochs=2),
        )
    )
    options = Options("c", Path("w"), Path("d"))
    wire(config, "cls", options, Precision("float32", "cpu", "test"), Budget())
    net = backbones.create(spec)
    add_multipliers(config.optim_wrapper, net.lr_multipliers())
    network = torch.nn.ModuleDict(dict(backbone=net))
    groups = build_optim_wrapper(network, config.optim_wrapper).optimizer.param_groups
    found = {p: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    offsets = 0
    for name, parameter in network.named_parameters():
        slow = suffix == "-dcnv2" and ".conv_offset." in name
        flat = flat_decay_mult is not None and parameter.ndim == 1
        expected = (0.05 if slow else 0.5, 0.0 if flat else 0.25)
        assert found[parameter] == pytest.approx(expected), name
        offsets += slow
    assert (offsets > 0) == (suffix == "-dcnv2")


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.5, "10%", True])
def test_fraction_is_partial(value):
    with pytest.raises(UserError, match="between 0 and 1, as 0"):
        wire(
            Config(dict(_config(max_epochs=3)._cfg_dict, train_fraction=value)),
            "det",
            Options("c", Path("w"), Path("d")),
            Precision("float32", "cpu", "test"),
            Budget(),
        )


@pytest.mark.parametrize("budget", [Budget(), Budget(iterations=2, batch_size=2)])
def test_wrong_images_of_a_pass_are_refused_in_every_budget(budget):
    config = _config(max_epochs=3)
    config.device_batch_size = 0
    precision = Precision("float32", "cpu", "test")
    with pytest.raises(UserError, match=r"device_batch_size=0 was given; expected the most images"):
        wire(config, "cls", Options("c", Path("w"), Path("d")), precision, budget)


@pytest.mark.parametrize(
    ("device", "cores", "threads", "by_harness", "processes", "workers"),
    [
        ("cpu", 2, "1", False, 1, 1),
        ("cpu", 64, "1", False, 1, 2),
        ("cuda", 1, "", False, 1, 1),
        ("cuda", 16, "", False, 1, 15),
        ("cuda", 16, "1", False, 1, 15),
        ("cuda", 16, "4", True, 1, 3),
        ("cuda", 16, "1", False, 4, 3),
        ("cuda", 128, "", False, 1, 32),
    ],
)
def test_automatic_workers(device, cores, threads, by_harness, processes, workers, monkeypatch):
    monkeypatch.setattr(loader_processes, "cpu_cores", lambda: cores)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.delenv("RANK", raising=False)
    if processes > 1:
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert loader_processes.automatic_workers(device, by_harness=by_harness) == workers


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_workers_and_pinned_memory(device, monkeypatch):
    monkeypatch.setattr(loader_processes, "cpu_cores", lambda: 8)
    config = _config(max_epochs=3)
    config.train_dataloader.num_workers = None
    config.val_dataloader.num_workers = 0
    loader_processes.wire_processes_of_loaders(config, device, by_harness=False)
    train, test = config.train_dataloader, config.val_dataloader
    assert (train.num_workers, test.num_workers) == (2 if device == "cpu" else 7, 0)
    assert (train.persistent_workers, test.persistent_workers) == (True, False)
    assert train.pin_memory is test.pin_memory is (device == "cuda")


def test_losses_are_read_rarely_from_a_gpu():
    intervals = {}
    for device in ("cpu", "cuda"):
        config = _config(max_iters=30)
        wire(
            config,
            "det",
            Options("c", Path("w"), Path("d")),
            Precision("float32", device, ""),
            Budget(),
        )
        intervals[device] = next(
            hook.interval for hook in config.custom_hooks if hook.type == "NonFiniteLossHook"
        )
        # mmengine's own hook would read every loss in every iteration.
        assert config.default_hooks.runtime_info.type == "PositionHook"
    assert intervals == {"cpu": 1, "cuda": config.default_hooks.logger.interval}


@pytest.mark.parametrize(
    ("dtype", "device", "output_stride", "expected"),
    [
        ("float32", "cpu", 8, False),
        ("float32", "cpu", None, True),
        ("float32", "cpu", 32, True),
        ("bfloat16", "cpu", 8, True),
        ("float32", "cuda", 8, True),
    ],
)
def test_float32_of_a_dilated_network_is_computed_in_nchw_on_a_cpu(
    dtype, device, output_stride, expected
):
    config = _config(max_iters=30)
    if output_stride is not None:
        config.model.backbone.output_stride = output_stride
    precision = Precision(dtype, device, "test")
    wire(config, "seg", Options("c", Path("w"), Path("d")), precision, Budget())
    assert config.model.backbone.channels_last is expected
