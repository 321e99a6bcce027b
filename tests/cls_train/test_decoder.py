"""Which decoder a classification run uses: named, chosen by speed, or as before."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision.io
from PIL import Image
from support.one_step import batches_of, config_of, one_step
from support.pretend_cuda import pretend_cuda

import cls_train.decoder as choice
from cls_train.train import Classification
from contract.errors import UserError
from engine import describe
from engine.cli import Options
from engine.decoder_speed import Speeds
from engine.decoding import decode_plain_jpeg
from engine.encoded import EncodedBatch, decode_batch
from engine.job import resolve_job
from engine.resume import point_at_checkpoint
from engine.task import prepare

TASK = Classification()
SPEC = "resnet10_b-w8"
FAST, SLOW = Speeds(5200, 2100, 8), Speeds(900, 2100, 8)


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory):
    """A set of JPEG files."""
    root = tmp_path_factory.mktemp("jpegs")
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        for label in ("a", "b"):
            (root / split / label).mkdir(parents=True)
            for index in range(4):
                pixels = generator.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / label / f"{index}.jpg", quality=90)
    return root


@pytest.fixture(autouse=True)
def nvjpeg(monkeypatch):
    """nvJPEG in pretence: decodes on the CPU."""

    def decode(files, mode, device):
        return [decode_plain_jpeg(one.numpy().tobytes()).to(device) for one in files]

    monkeypatch.setattr(torchvision.io, "decode_jpeg", decode)


def _job(config, data, folder, **options):
    made = dict(backbone=SPEC, budget="smoke", precision="fp32", **options)
    return resolve_job(Options(config=str(config), data=data, work_dir=folder, **made))


def _settle(job):
    config = prepare(TASK, job)
    found = TASK.settle(job, config)
    assert config.train_dataloader.dataset.dataset.decoder == found["decoder"]
    return found["decoder"]


@pytest.mark.parametrize("asked", ["auto", "turbo", "pillow"])
def test_cpu_measures_nothing(asked, tiny_config, jpegs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(choice, "measure_decoders", None)
    found = _settle(_job(tiny_config, jpegs, tmp_path, overrides={"decoder": asked}))
    assert found == ("turbo" if asked == "auto" else asked)
    assert "decoder" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("speeds", "decoder", "said"),
    [
        (FAST, "cuda", "cuda, 5200 images/s against 2100 of 8 cores"),
        (SLOW, "turbo", "turbo, 2100 images/s of 8 cores against 900 of the GPU"),
        ("nvJPEG failed (missing)", "turbo", "turbo: nvJPEG failed (missing)"),
    ],
)
def test_the_faster_is_chosen(
    speeds, decoder, said, tiny_config, jpegs, tmp_path, monkeypatch, capsys
):
    asked = []

    def measure(files, cores, size):
        asked.append((len(files), cores, size))
        return speeds

    monkeypatch.setattr(choice, "measure_decoders", measure)
    with pretend_cuda():
        assert _settle(_job(tiny_config, jpegs, tmp_path)) == decoder
    assert asked == [(8, 1, 32)]
    assert f"decoder:   {said}\n" in capsys.readouterr().out


@pytest.mark.parametrize("decoder", ["cuda", "turbo"])
def test_option_replaces_the_measurement(decoder, tiny_config, jpegs, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "measure_decoders", lambda *_: FAST if decoder == "cuda" else None)
    with pretend_cuda():
        assert _settle(_job(tiny_config, jpegs, tmp_path, decoder=decoder)) == decoder
        # A fixed key is not what `auto` means.
        fixed = {"decoder": "pillow"}
        job = _job(tiny_config, jpegs, tmp_path, decoder=decoder, overrides=fixed)
        assert _settle(job) == "pillow"


def test_transforms_of_workers_keep_the_cpu(tiny_config, jpegs, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "measure_decoders", None)
    with pretend_cuda():
        for given in (None, "cuda"):
            job = _job(tiny_config, jpegs, tmp_path, tricks=("rand_augment",), decoder=given)
            assert _settle(job) == "turbo"
        job = _job(
            tiny_config,
            jpegs,
            tmp_path,
            tricks=("rand_augment",),
            overrides={"decoder": "cuda"},
        )
        with pytest.raises(UserError, match="decoder='cuda' was given, but the transform RandAug"):
            prepare(TASK, job)


def test_refusals(tiny_config, jpegs, tmp_path, monkeypatch):
    def job(decoder):
        return _job(tiny_config, jpegs, tmp_path, overrides={"decoder": decoder})

    with pytest.raises(UserError, match="decoder='cuda' was given, but the run trains on the CPU"):
        prepare(TASK, job("cuda"))
    with pytest.raises(UserError, match="unknown decoder 'coda'; did you mean 'cuda'"):
        prepare(TASK, job("coda"))
    monkeypatch.setattr(choice, "measure_decoders", lambda *_: "nvJPEG failed (missing)")
    with (
        pretend_cuda(),
        pytest.raises(UserError, match=r"asked for, but nvJPEG failed \(missing\)"),
    ):
        _settle(job("cuda"))


def test_resumed_runs_keep_the_decoder(tiny_config, jpegs, tmp_path, monkeypatch):
    """Without a measurement; another one that is asked for is refused."""
    (tmp_path / "job.json").write_text(json.dumps({"conditions": {"decoder": "turbo"}}))
    monkeypatch.setattr(choice, "measure_decoders", lambda *_: FAST)
    with pretend_cuda():
        assert _settle(_job(tiny_config, jpegs, tmp_path)) == "cuda"
        assert _settle(_job(tiny_config, jpegs, tmp_path, resume=True)) == "turbo"
        job = _job(tiny_config, jpegs, tmp_path, resume=True, decoder="cuda")
        config = prepare(TASK, job)
        conditions = TASK.settle(job, config)
    torch.save({}, tmp_path / "epoch_1.pth")
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "epoch_1.pth"))
    with pytest.raises(UserError, match="decoder was turbo and is cuda"):
        point_at_checkpoint(config, tmp_path, resume=True, identity="a", conditions=conditions)


def test_step_with_encoded_images(tiny_config, jpegs, tmp_path):
    """The step of the same bytes decoded before; they differ from those of workers by 1 grey level at most."""
    options = dict(backbone=SPEC, precision="fp32")
    config = config_of(TASK, tiny_config, jpegs, overrides={"decoder": "turbo"}, **options)
    decoded = batches_of(TASK, config)
    with pretend_cuda():
        other = config_of(TASK, tiny_config, jpegs, overrides={"decoder": "cuda"}, **options)
    for loader in (other.train_dataloader, other.val_dataloader):
        # There is no GPU outside the pretence.
        loader.pin_memory = False
    batches = batches_of(TASK, other)
    assert isinstance(batches[0]["inputs"], EncodedBatch)
    assert torch.equal(batches[1]["inputs"], decoded[1]["inputs"])
    pixels = decode_batch(batches[0]["inputs"], torch.device("cpu"))
    assert (pixels.int() - decoded[0]["inputs"].int()).abs().max() <= 1
    assert torch.equal(batches[0]["augment"], decoded[0]["augment"])
    expected = one_step(TASK, config, [{**batches[0], "inputs": pixels}, decoded[1]])
    with pretend_cuda():
        found = one_step(TASK, other, batches)
    assert found.devices == {"cuda"}
    assert found.losses == expected.losses


@pytest.mark.parametrize(("speeds", "decoder"), [(FAST, "cuda"), (SLOW, "turbo"), ("no", "turbo")])
def test_harness_learns_the_faster(speeds, decoder, monkeypatch):
    asked = []

    def measure(files, cores):
        asked.append((len(files), cores))
        return speeds

    monkeypatch.setattr(describe, "measure_decoders", measure)
    monkeypatch.setattr(describe, "cpu_cores", lambda: 32)
    monkeypatch.setattr(describe, "list_gpus", lambda _: [])
    monkeypatch.setattr(describe, "find_hardware", lambda: SimpleNamespace(driver=None))
    assert describe._machine("cpu")["decoder"] == "turbo" and not asked
    with pretend_cuda():
        assert describe._machine("cuda")["decoder"] == decoder
    assert asked == [(16, 31)]
    describe._decoder(4)
    assert asked[-1] == (16, 7)
