"""The division of a step among processes and passes."""

import pytest
from mmengine.config import Config

from contract.errors import UserError
from engine.runner import batch
from engine.runner.batch import batch_use, describe_batch, evenly, trained_statistics, wire_batch

PLAIN = dict(backbone=dict(spec="resnet10_b-w8", norm_eval=True))
TRAINED = dict(backbone=dict(spec="resnet10_b-w8"))
SYNCHRONISED = dict(
    backbone=dict(spec="resnet10_b-w8"), decode_head=dict(norm_cfg=dict(type="SyncBN"))
)


def wired(
    size, processes, *, model=PLAIN, enable=True, base=16, synchronises=False, asked=None, **more
):
    config = Config(
        dict(
            model=model,
            train_dataloader=dict(batch_size=size),
            auto_scale_lr=dict(enable=enable, base_batch_size=base),
            device_batch_size=asked,
            **more,
        )
    )
    hook = wire_batch(config, processes, synchronises=synchronises, keep_numbers=False)
    config.custom_hooks = [hook]
    assert "device_batch_size" not in config
    return config


@pytest.mark.parametrize(
    ("size", "processes", "enable", "share", "words"),
    [
        (2, 8, True, 2, "16 images a step (8 processes x 2), learning rate the config's"),
        (2, 1, True, 16, "16 images a step (8 micro-batches x 2), learning rate the config's"),
        # More devices than the published ones: each takes fewer images.
        (4, 8, True, 2, "16 images a step (8 processes x 2), learning rate the config's"),
        (2, 16, True, 1, "16 images a step (16 processes x 1), learning rate the config's"),
        (
            2,
            3,
            True,
            5,
            "15 images a step (3 processes x 3 micro-batches x 2), learning rate 0.9375 of the config's",
        ),
        (16, 1, True, 16, "16 images a step, learning rate the config's"),
        # A config may ask for a larger batch than the published one.
        (32, 1, True, 32, "32 images a step, learning rate 2 of the config's"),
        (2, 1, False, 2, "2 images a step, learning rate the config's"),
    ],
)
def test_published_batch_is_kept_and_reported(size, processes, enable, share, words):
    config = wired(size, processes, enable=enable)
    assert config.train_dataloader.batch_size == share
    assert describe_batch(config, processes) == words


@pytest.mark.parametrize(
    ("size", "factor", "rate"),
    [
        (16, 3.0, "3 of the config's (--lr-factor 3)"),
        (16, 0.3, "0.3 of the config's (--lr-factor 0.3)"),
        # The rule on the batch and the factor multiply; where they cancel, the factor is reported all the same.
        (32, 1.5, "3 of the config's (--lr-factor 1.5)"),
        (32, 0.5, "the config's (--lr-factor 0.5)"),
        (16, 1.0, "the config's"),
    ],
)
def test_lr_factor_is_reported(size, factor, rate):
    config = wired(size, 1)
    assert describe_batch(config, 1, factor) == f"{size} images a step, learning rate {rate}"


def test_more_processes_than_images_are_refused():
    with pytest.raises(UserError, match="17 processes were started, and a step has 16 images"):
        wired(2, 17)


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "4"])
def test_key_takes_a_number_of_images(value):
    with pytest.raises(UserError, match=r"device_batch_size=.* expected the most images"):
        wired(2, 1, asked=value)


@pytest.mark.parametrize(
    ("processes", "synchronises", "asked", "size", "over", "words"),
    [
        # One device: a pass on the whole step has the statistics of SyncBN on four.
        (1, False, None, 16, 16, "16 images a step, learning"),
        (4, True, None, 4, 16, "16 images a step (4 processes x 4), learning"),
        (8, True, None, 2, 16, "16 images a step (8 processes x 2), learning"),
        (
            1,
            False,
            4,
            4,
            4,
            "16 images a step (4 micro-batches x 4), batch statistics over 4 images (published: 16), learning",
        ),
        (
            2,
            True,
            4,
            4,
            8,
            "16 images a step (2 processes x 2 micro-batches x 4), batch statistics over 8 images (published: 16)",
        ),
        # gloo processes do not synchronise.
        (2, False, None, 8, 8, "16 images a step (2 processes x 8), batch statistics over 8"),
    ],
)
def test_synchronised_statistics_keep_their_images(
    processes, synchronises, asked, size, over, words
):
    config = wired(4, processes, model=SYNCHRONISED, synchronises=synchronises, asked=asked)
    assert describe_batch(config, processes).startswith(words)
    assert batch_use(config, processes) == {
        "images": 16,
        "processes": processes,
        "device_batch_size": size,
        "batch_norm_images": over,
        "published_batch_norm_images": 16,
    }


@pytest.mark.parametrize(("model", "over"), [(TRAINED, 16), (PLAIN, None)])
def test_converted_batch_norm_is_synchronised(model, over):
    """The key `sync_bn`, for `batch_norm = 'synchronised'` in a network without SyncBN in its heads."""
    config = wired(2, 4, model=model, synchronises=True, sync_bn="torch")
    use = batch_use(config, 4)
    assert (use["batch_norm_images"], use["published_batch_norm_images"]) == (over, over)


@pytest.mark.parametrize(
    ("batch_size", "published", "processes", "size", "words"),
    [
        (1024, 128, 1, 128, "1024 images a step (8 micro-batches x 128), batch statistics over 128"),
        (1024, 128, 2, 128, "1024 images a step (2 processes x 4 micro-batches x 128), batch stat"),
        (1024, 128, 8, 128, "1024 images a step (8 processes x 128), batch statistics over 128 im"),
        (1024, 128, 16, 64, "1024 images a step (16 processes x 64), batch statistics over 64 images (pub"),
        (256, 32, 3, 29, "255 images a step (3 processes x 3 micro-batches x 29), batch statistics"),
        (32, 32, 1, 32, "32 images a step, learning rate the config's"),
    ],
)  # fmt: skip
def test_trained_statistics_keep_the_published_images_per_device(
    batch_size, published, processes, size, words
):
    config = wired(published, processes, model=TRAINED, base=batch_size)
    assert describe_batch(config, processes).startswith(words)
    use = batch_use(config, processes)
    assert (use["device_batch_size"], use["batch_norm_images"]) == (size, size)
    assert use["published_batch_norm_images"] == published


def test_asked_size_is_at_most_the_share():
    config = wired(2, 8, asked=64)
    assert batch_use(config, 8)["device_batch_size"] == 2


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (PLAIN, batch.NONE),
        (TRAINED, batch.PASS),
        (dict(backbone=dict(spec="resnet10_b-w8", frozen=True)), batch.NONE),
        (dict(backbone=dict(spec="timm:convnext_atto")), batch.NONE),
        (dict(PLAIN, neck=dict(norm_cfg=dict(type="BN"))), batch.PASS),
        (SYNCHRONISED, batch.SYNCHRONISED),
    ],
)
def test_trained_statistics(model, found):
    assert trained_statistics(Config(dict(model=model)).model) == found


@pytest.mark.parametrize(
    ("share", "most", "size"), [(16, 2, 2), (85, 32, 29), (5, 2, 2), (5, 8, 5), (7, 4, 4)]
)
def test_passes_are_few_and_nearly_equal(share, most, size):
    assert evenly(share, most) == size
    assert -(-share // size) == -(-share // most)
