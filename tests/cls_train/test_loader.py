"""The images that a classifier trains on: the same on every device, with any workers, and after a resume."""

import itertools

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from support.one_step import config_of
from support.pretend_cuda import pretend_cuda
from torch import nn

from cls_train.mixing import RICAP, CutMix, Mixup
from cls_train.train import Classification
from engine.augmentation import Augmentation
from engine.image_folder import ImageFolderDataset, register_transform, split_pipeline
from engine.runner.seeding import seed_everything

TASK = Classification()
SPEC = "resnet10_b-w8"
# One from each kind of step: Pillow in the worker, colours, noise, a rectangle.
TRICKS = ("rand_augment", "color_jitter", "random_erasing", "cutout")
EPOCHS, PER_EPOCH = 3, 6


@pytest.fixture(scope="module")
def config(image_folder, tiny_config):
    return config_of(TASK, tiny_config, image_folder, "full", backbone=SPEC, tricks=TRICKS)


def _loader(config, workers=0):
    loader = config.train_dataloader.copy()
    loader.update(num_workers=workers, persistent_workers=workers > 0)
    with DefaultScope.overwrite_default_scope(TASK.scope):
        return Runner.build_dataloader(loader, seed=0)


@pytest.fixture(scope="module")
def batches(config):
    return list(_loader(config))


def _equal(one, other):
    return set(one) == set(other) and all(torch.equal(one[key], other[key]) for key in one)


def test_bytes_leave_the_workers(batches):
    assert len(batches) == EPOCHS * PER_EPOCH
    for batch in batches:
        assert batch["inputs"].dtype == torch.uint8
        assert batch["inputs"].shape == (8, 3, 32, 32)
        assert batch["inputs"].is_contiguous(memory_format=torch.channels_last)
        assert batch["augment"].shape == (8, 21 + 5 + 4)
    drawn = torch.cat([batch["augment"] for batch in batches])
    assert len(drawn.unique(dim=0)) == len(drawn)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [2, 4])
def test_workers_change_nothing(workers, config, batches):
    found = list(_loader(config, workers))
    assert len(found) == len(batches)
    assert all(map(_equal, found, batches))


@pytest.mark.parametrize("done", [4, PER_EPOCH, PER_EPOCH + 5])
def test_a_resumed_loader_continues(done, config, batches):
    """Also within an epoch."""
    loader = _loader(config)
    loader.sampler.start_after(done * loader.batch_size)
    assert all(map(_equal, itertools.islice(loader, 4), batches[done : done + 4]))


def _preprocess(config, batch, device="cpu"):
    with DefaultScope.overwrite_default_scope(TASK.scope):
        preprocessor = MODELS.build(config.model.data_preprocessor).to(device)
    return preprocessor({key: value.clone() for key, value in batch.items()}, True)


def test_devices_change_nothing(config, batches):
    expected = [_preprocess(config, batch)["inputs"] for batch in batches[:4]]
    with pretend_cuda() as mode:
        found = [_preprocess(config, batch, "cuda")["inputs"] for batch in batches[:4]]
        assert {one.device.type for one in found} == {"cuda"}
        # The host waits for nothing.
        assert sum(mode.waits.values()) == 0
        found = [one.cpu() for one in found]
    assert all(map(torch.equal, found, expected))
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in expected)


def test_parts_of_a_batch_change_nothing(config, batches):
    """A step in several passes preprocesses each part by itself."""
    whole = _preprocess(config, batches[0])["inputs"]
    parts = [
        _preprocess(config, {key: value[part] for key, value in batches[0].items()})["inputs"]
        for part in (slice(0, 3), slice(3, 8))
    ]
    assert torch.equal(torch.cat(parts), whole)


def test_test_images_are_only_normalised(config):
    with DefaultScope.overwrite_default_scope(TASK.scope):
        batch = next(iter(Runner.build_dataloader(config.val_dataloader, seed=0)))
    found = _preprocess(config, batch)["inputs"]
    settings = config.model.data_preprocessor
    mean, std = (torch.tensor(settings[key])[:, None, None] for key in ("mean", "std"))
    assert torch.equal(found, (batch["inputs"].float() - mean) / std)


def test_own_transform_after_batch_transforms(image_folder, monkeypatch):
    """Order is kept: batch transforms in front of a worker's transform run in the worker too."""

    @register_transform
    class Halve(nn.Module):
        def forward(self, image):
            assert image.is_floating_point()
            return image / 2

    monkeypatch.setattr("engine.image_folder.OWN_TRANSFORMS", {"Halve": Halve})
    crop, noise = dict(type="RandomResizedCrop", size=16), dict(type="PCANoise", std=0.1)
    halve, cut = dict(type="Halve"), dict(type="Cutout")
    assert split_pipeline([crop, noise, halve, cut]) == ([crop, noise, halve], [cut])
    root = str(image_folder / "train")
    samples = {}
    for name, last in (("whole", [halve, cut]), ("before", [])):
        seed_everything(1)
        samples[name] = ImageFolderDataset(root, [crop, noise, *last])[5]
    before = samples["before"]
    scale = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
    changed = Augmentation([noise])(before["inputs"][None], before["augment"][None], *scale)[0]
    torch.testing.assert_close(samples["whole"]["inputs"], changed / 2)
    assert samples["whole"]["augment"].shape == (4,)


@pytest.mark.parametrize("mix", [Mixup(0.5), CutMix(1.0), RICAP(0.5)])
def test_devices_mix_alike(mix):
    images, targets = torch.rand(6, 3, 8, 8), torch.eye(6)
    torch.manual_seed(5)
    expected = mix(images, targets)
    with pretend_cuda() as mode:
        on_device = images.to("cuda"), targets.to("cuda")
        torch.manual_seed(5)
        before = sum(mode.waits.values())
        found = mix(*on_device)
        assert sum(mode.waits.values()) == before
        found = [one.cpu() for one in found]
    assert all(map(torch.equal, found, expected))
