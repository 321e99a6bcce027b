"""JPEG files that a device decodes, against the same files decoded in the worker."""

import io
import pickle
import warnings

import numpy as np
import pytest
import torch
import torchvision.io
from PIL import Image
from support.pretend_cuda import CUDA, pretend_cuda

from cls_train import colours  # noqa: F401  (registers PCANoise)
from contract.errors import UserError
from engine import decoder_speed, encoded
from engine.decoding import decode_plain_jpeg, read_frame
from engine.image_folder import ImageFolderDataset, collate_images, needs_pixels
from engine.runner.seeding import seed_everything

CROP = dict(type="RandomResizedCrop", size=48, scale=(0.2, 1.0))
FLIP = dict(type="RandomHorizontalFlip")
NOISE = dict(type="PCANoise", std=0.1)


def _picture(seed):
    generator = np.random.default_rng(seed)
    small = Image.fromarray(generator.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    return small.resize((101 + seed, 75), Image.Resampling.BICUBIC)


def _file(seed=0, kind="JPEG", mode="RGB", **options):
    stream = io.BytesIO()
    _picture(seed).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def _turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return _file(exif=exif)


COMMON = {
    "usual": _file(1),
    "progressive": _file(2, progressive=True),
    "444": _file(3, subsampling=0),
}
OTHERS = {
    "cmyk": _file(mode="CMYK"),
    "png": _file(kind="PNG"),
    "grey": _file(mode="L"),
    "rgb": _file(keep_rgb=True),
    "turned": _turned(),
}


class Stub:
    """nvJPEG in pretence: decodes on the CPU, with its pixels."""

    def __init__(self):
        self.calls = []
        self.refused = ()

    def __call__(self, files, mode, device):
        assert isinstance(files, list) and mode == torchvision.io.ImageReadMode.RGB
        assert all(one.device.type == "cpu" and one.dtype == torch.uint8 for one in files)
        warnings.warn(
            "The image decoding and encoding are deprecated", DeprecationWarning, stacklevel=2
        )
        self.calls.append(len(files))
        data = [one.numpy().tobytes() for one in files]
        if any(one in self.refused for one in data):
            raise RuntimeError("nvjpegDecode failed: 5")
        return [decode_plain_jpeg(one).to(device) for one in data]


@pytest.fixture
def stub(monkeypatch):
    found = Stub()
    monkeypatch.setattr(torchvision.io, "decode_jpeg", found)
    monkeypatch.setattr(encoded, "_told", set())
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("encoded") / "train"
    (root / "a").mkdir(parents=True)
    for name, data in {**COMMON, **OTHERS}.items():
        (root / "a" / f"{name}.jpg").write_bytes(data)
    return root


def _samples(folder, decoder, seed=5):
    data = ImageFolderDataset(str(folder), [CROP, FLIP, NOISE], decoder=decoder)
    found = []
    for index in range(len(data)):
        seed_everything(seed, index)
        found.append(data[index])
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_device_and_worker_agree(seed, folder, stub):
    """Boxes, flips and later draws are equal, the pixels up to the rounding of the resize: 1 grey level."""
    expected = collate_images(_samples(folder, "turbo", seed))
    batch = collate_images(_samples(folder, "cuda", seed))
    assert torch.equal(batch["augment"], expected["augment"])
    assert torch.equal(batch["labels"], expected["labels"])
    with pretend_cuda(), warnings.catch_warnings():
        warnings.simplefilter("error")
        found = encoded.decode_batch(batch["inputs"], CUDA)
        assert found.device.type == "cuda" and found.dtype == torch.uint8
        found = found.cpu()
    assert stub.calls == [len(COMMON)]
    assert found.is_contiguous(memory_format=torch.channels_last)
    difference = (found.int() - expected["inputs"].int()).abs()
    assert difference.max() <= 1 and difference.float().mean() < 0.3
    finished = [n for n, image in enumerate(batch["inputs"]) if image.box is None]
    assert len(finished) == len(OTHERS)
    assert not difference[finished].any()


def test_passes_slice_a_batch_and_workers_send_one_tensor(folder, stub):
    batch = collate_images(_samples(folder, "cuda"))["inputs"]
    assert sum(isinstance(value, torch.Tensor) for value in batch.__getstate__().values()) == 1
    whole = encoded.decode_batch(batch, torch.device("cpu"))
    sent = pickle.loads(pickle.dumps(batch))
    parts = [sent[0:3], sent[3:9]]
    assert [len(part) for part in parts] == [3, 5]
    found = [encoded.decode_batch(part, torch.device("cpu")) for part in parts]
    assert torch.equal(torch.cat(found), whole)


def test_loader_pins_the_bytes(folder, monkeypatch):
    from torch.utils.data._utils.pin_memory import pin_memory

    pinned = []

    def pin(tensor, *_):
        pinned.append(tensor)
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    batch = collate_images(_samples(folder, "cuda"))
    found = pin_memory(batch)
    assert isinstance(found["inputs"], encoded.EncodedBatch)
    assert any(one.dtype == torch.uint8 for one in pinned)


def test_large_images_are_decoded_in_groups(folder, stub, monkeypatch):
    batch = collate_images(_samples(folder, "cuda"))["inputs"]
    whole = encoded.decode_batch(batch, torch.device("cpu"))
    monkeypatch.setattr(encoded, "_MOST_BYTES", 3 * 75 * 110)
    stub.calls.clear()
    assert torch.equal(encoded.decode_batch(batch, torch.device("cpu")), whole)
    assert stub.calls == [1] * len(COMMON)


def test_cpu_decodes_what_the_gpu_refuses(folder, stub, capsys):
    batch = collate_images(_samples(folder, "cuda"))["inputs"]
    whole = encoded.decode_batch(batch, torch.device("cpu"))
    stub.refused = (COMMON["usual"],)
    for _ in range(2):
        assert torch.equal(encoded.decode_batch(batch, torch.device("cpu")), whole)
    assert stub.calls == [3, 3, 1, 1, 1, 3, 1, 1, 1]
    said = capsys.readouterr().out
    assert said.count("note: the GPU cannot decode") == 1
    assert "usual.jpg (nvjpegDecode failed: 5)" in said


def test_full_memory_is_no_damaged_file(folder, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torchvision.io, "decode_jpeg", full)
    batch = collate_images(_samples(folder, "cuda"))["inputs"]
    with pytest.raises(torch.OutOfMemoryError):
        encoded.decode_batch(batch, torch.device("cpu"))


def test_a_damaged_file_is_named(tmp_path, stub):
    """In the worker if it is cut off, with the sentence of the other decoders; by the device else."""
    root = tmp_path / "train"
    (root / "a").mkdir(parents=True)
    path = root / "a" / "bad.jpg"
    path.write_bytes(COMMON["usual"][:-900])
    data = ImageFolderDataset(str(root), [CROP, FLIP], decoder="cuda")
    with pytest.raises(UserError, match=r"bad\.jpg cannot be decoded \(.*truncated"):
        data[0]
    # The header alone.
    end = COMMON["usual"].index(b"\xff\xc0") + 19
    broken = COMMON["usual"][:end] + b"\xff\xd9"
    stub.refused = (broken,)
    path.write_bytes(broken)
    batch = collate_images([data[0]])["inputs"]
    with pytest.raises(UserError, match=r"bad\.jpg cannot be decoded"):
        encoded.decode_batch(batch, torch.device("cpu"))
    path.unlink()
    with pytest.raises(UserError, match=r"bad\.jpg does not exist"):
        data[0]


def test_frame():
    frame = read_frame(COMMON["usual"])
    assert (frame.height, frame.width, frame.is_common) == (75, 102, True)
    assert not read_frame(OTHERS["grey"]).is_common
    assert not read_frame(OTHERS["rgb"]).is_common


@pytest.mark.parametrize(
    ("pipeline", "problem"),
    [
        ([CROP, FLIP, NOISE], None),
        ([CROP], None),
        ([CROP, FLIP, dict(type="RandAugment"), NOISE], "the transform RandAugment runs in the"),
        ([dict(type="CenterCrop", size=8)], "does not start with a bilinear RandomResizedCrop"),
    ],
)
def test_pipelines_that_need_pixels(pipeline, problem, folder):
    found = needs_pixels(pipeline)
    assert (found is None) if problem is None else (problem in found)
    if problem is not None:
        with pytest.raises(UserError, match=f"decoder 'cuda' was asked for, but .*{problem}"):
            ImageFolderDataset(str(folder), pipeline, decoder="cuda")


def test_speeds_choose_the_faster(stub, monkeypatch):
    rates = {"gpu": 5200.0, "core": 262.5}
    monkeypatch.setattr(decoder_speed, "_speed_of_gpu", lambda *_: rates["gpu"])
    monkeypatch.setattr(decoder_speed, "_speed_of_core", lambda *_: rates["core"])
    files = list(COMMON.values())
    with pretend_cuda():
        fast = decoder_speed.measure_decoders(files, 8)
        slow = decoder_speed.measure_decoders(files, 20)
    assert str(fast) == "cuda, 5200 images/s against 2100 of 8 cores"
    assert str(slow) == "turbo, 5250 images/s of 20 cores against 5200 of the GPU"
    assert (fast.choice, slow.choice) == ("cuda", "turbo")


def test_speeds_are_measured(stub, monkeypatch):
    monkeypatch.setattr(decoder_speed, "_ON_CPU", 2)
    monkeypatch.setattr(decoder_speed, "_BATCH", 4)
    monkeypatch.setattr(decoder_speed, "_BATCHES", 1)
    files = decoder_speed.generated_files(2)
    assert all(read_frame(file).is_common for file in files)
    before = torch.random.get_rng_state()
    with pretend_cuda():
        found = decoder_speed.measure_decoders([*files, OTHERS["png"]], 2, 32)
    assert found.cuda > 0 and found.turbo > 0
    assert torch.equal(torch.random.get_rng_state(), before)


def test_no_speed_without_nvjpeg(stub, monkeypatch):
    file = COMMON["usual"]
    stub.refused = (file,)
    with pretend_cuda():
        found = decoder_speed.measure_decoders([file], 2)
        assert found == "nvJPEG failed (nvjpegDecode failed: 5)"
        assert "none of the first" in decoder_speed.measure_decoders([OTHERS["png"]], 2)
        monkeypatch.delattr(torchvision.io, "decode_jpeg")
        assert "nvJPEG failed" in decoder_speed.measure_decoders([file], 2)
