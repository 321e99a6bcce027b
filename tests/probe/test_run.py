"""The probe's command: its outputs, its features against the classifier's, and its errors."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from support.conversion import packed_copy
from torch import nn

import backbones
from backbones import CheckpointMetadata
from cls_train.train import Classification
from engine.adapter import TransferBackbone
from engine.image_folder import ImageFolderDataset
from engine.runner.seeding import SeededDataset
from engine.task import main as train
from probe.features import PooledFeatures, extract
from probe.run import Split, main, probe

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "result.json"
SPEC = "resnet10_d-w8"
SMALL = ("image_size=32", "test_resize_ratio=1.0", "workers=0")
METADATA = CheckpointMetadata(
    SPEC, "standard", (), 40.0, (101.0, 102.0, 103.0), (51.0, 52.0, 53.0), "RGB", 0, "raw"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(11)
    path = tmp_path_factory.mktemp("checkpoint") / "backbone.safetensors"
    backbones.export_checkpoint(backbones.create(SPEC), path, METADATA)
    return path


def _words(data, work_dir, *more, settings=()):
    words = ["imagenet", "--data", str(data), "--work-dir", str(work_dir)]
    for setting in (*SMALL, *settings):
        words += ["--set", setting]
    return [*words, *map(str, more)]


def _probe(*arguments, **named):
    assert main(_words(*arguments, **named)) == 0
    folder = arguments[1]
    return tuple(
        json.loads((folder / name).read_text()) for name in ("result.json", "evaluation.json")
    )


def test_outputs_match_documentation(image_folder, tmp_path, checkpoint):
    more = ("--checkpoint", checkpoint, "--identity", "ab12", "--data-fingerprint", "da7a")
    result, evaluation = _probe(image_folder, tmp_path, *more, "--seed", 3)
    example = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    assert result.keys() == example.keys()
    # The probe times no network of its own, and a factor does not apply to its learning rate.
    assert (result["inference"], result["lr_factor"]) == ({}, 1.0)
    assert (result["stage"], result["status"], result["seed"]) == ("probe", "completed", 3)
    assert (result["identity"], result["data"]["fingerprint"]) == ("ab12", "da7a")
    assert (result["recipe"], result["tricks"]) == (None, [])
    report = result["checkpoint"]
    assert report["matched"] == report["total"] == len(backbones.create(SPEC).state_dict())
    assert report["source"]["top1"] == 40.0
    assert [metric["name"] for metric in result["metrics"]] == ["linear_top1", "knn_top1"]
    assert [cost["name"] for cost in result["costs"]] == ["feature_seconds", "fit_seconds"]
    assert all(isinstance(text, str) for text in result["protocol"].values())
    assert result["protocol"]["test"].startswith("Resize 32, CenterCrop 32; one view")
    assert result["precision"]["dtype"] == "float32"
    counts = [
        result["data"][f"{s}_images_{k}"] for s in ("train", "test") for k in ("used", "total")
    ]
    assert counts == [48, 48, 12, 12]
    assert result["data"]["notes"] == ["probe k-NN with k = 100 takes all 48 training images"]

    assert [*evaluation["knn_top1"]] == ["10", "20", "100"]
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert values["knn_top1"] == evaluation["knn_top1"]["20"]
    assert [*evaluation["classes"]] == ["c0", "c1", "c2"]
    for name, value in values.items():
        # Four test images of each class.
        by_class = [entry[name] for entry in evaluation["classes"].values()]
        assert value == pytest.approx(np.mean(by_class))
    # A colour cast separates the classes, also for random filters.
    assert values["linear_top1"] > 60
    linear = evaluation["linear"]
    assert linear["held_out_images"] == 9
    best = max(linear["trials"], key=lambda t: (t["held_out_top1"], -t["held_out_loss"]))
    assert linear["strength"] == best["strength"]


def test_repeatable(image_folder, tmp_path, checkpoint, capsys):
    first = _probe(image_folder, tmp_path / "a", "--checkpoint", checkpoint)
    again = _probe(image_folder, tmp_path / "b", "--checkpoint", checkpoint, "--resume")
    assert first[1] == again[1]
    assert first[0]["metrics"] == again[0]["metrics"]
    assert "note: a probe keeps nothing to resume from; it starts again" in capsys.readouterr().out


def test_test_images_choose_nothing():
    generator = torch.Generator().manual_seed(0)
    train, other, test = (
        Split(torch.randn(40, 6, generator=generator), torch.arange(40) % 2) for _ in range(3)
    )
    config = Config(
        dict(
            neighbours=(10,), table_neighbours=10, temperature=0.07, held_out=0.2, iterations=1000,
            strengths=dict(low=-2, high=4, step=2, halvings=1),
        )
    )  # fmt: skip
    linear = [
        probe(config, train, shown, ["a", "b"], seed=0)[1]["linear"] for shown in (test, other)
    ]
    assert linear[0] == linear[1]


def test_random_weights_have_no_load_report(image_folder, tmp_path):
    found = [
        _probe(image_folder, tmp_path / str(n), "--backbone", SPEC, "--seed", seed)
        for n, seed in enumerate((0, 0, 1))
    ]
    assert found[0][0]["checkpoint"] is None
    trials = [evaluation["linear"]["trials"][0]["held_out_loss"] for _, evaluation in found]
    assert trials[0] == trials[1] != trials[2]


def test_budgets_limit_images(image_folder, tmp_path, checkpoint):
    smaller = ("budgets.smoke.iterations=2", "budgets.smoke.batch_size=12")
    more = ("--checkpoint", checkpoint, "--budget")
    smoke, _ = _probe(image_folder, tmp_path / "a", *more, "smoke", settings=smaller)
    short, _ = _probe(image_folder, tmp_path / "b", *more, "short")
    used = [(r["data"]["train_images_used"], r["data"]["test_images_used"]) for r in (smoke, short)]
    assert used == [(24, 12), (12, 12)]


@pytest.mark.filterwarnings("ignore")
def test_features_match_classifier(image_folder, tiny_config, tmp_path):
    words = [str(tiny_config), "--data", str(image_folder), "--work-dir", str(tmp_path)]
    words += ["--backbone", SPEC, "--precision", "fp32", "--set", "epochs_factor=0.67"]
    assert train(Classification(), words) == 0
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    top1 = {metric["name"]: metric["value"] for metric in metrics}["top1"]
    assert 40 < top1 < 100  # at chance, or at 100, other features could score the same
    path = tmp_path / "backbone.safetensors"
    values = dict(mean=(123.68, 116.779, 103.939), std=(58.393, 57.12, 57.375), bgr_to_rgb=True)
    network = PooledFeatures(TransferBackbone(SPEC, str(path), channels_last=True), values)
    pipeline = [dict(type="Resize", size=32), dict(type="CenterCrop", size=32)]
    test = SeededDataset(ImageFolderDataset(str(image_folder / "val"), pipeline), seed=0)
    features, labels = extract(network, test, "test", 5, 0)
    head = backbones.load_head(path)
    assert head is not None
    right = (head(features).argmax(dim=1) == labels).double().mean()
    assert top1 == pytest.approx(100 * float(right))


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_uses_training_channel_order(image_folder, order):
    class Mean(nn.Module):
        """Replaces a backbone and returns means of its input."""

        def forward(self, x):
            return [x]

    values = dict(mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0), bgr_to_rgb=order == "RGB")
    image = torch.tensor([110, 120, 130], dtype=torch.uint8).reshape(1, 3, 1, 1)
    found = PooledFeatures(Mean(), values)(image)[0].tolist()
    red, green, blue = 110, 120, 130
    first, last = (red, blue) if order == "RGB" else (blue, red)
    assert found == [(first - 10) / 2, (green - 20) / 4, (last - 30) / 8]


def _refused(capsys, *words, **named):
    assert main(_words(*words, **named)) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.removeprefix("error: ").strip()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("lr=0.1", "unknown config key 'lr'; known: image_size, test_resize_ratio, "),
        ("held_out=1.0", "held_out=1.0 was given; it must lie in (0, 1)"),
        ("table_neighbours=5", "neighbours=(10, 20, 100) and table_neighbours=5 were given; all are 1"),
        ("temperature=0", "temperature=0 was given; it must be above 0"),
        ("strengths.low=7", "strengths={'low': 7, 'high': 6, 'step': 2, 'halvings': 3} was given; low lies below"),
    ],
)  # fmt: skip
def test_meaningless_settings(image_folder, tmp_path, capsys, setting, said):
    words = (image_folder, tmp_path / "w", "--backbone", SPEC)
    assert _refused(capsys, *words, settings=(setting,)).startswith(said)
    assert not (tmp_path / "w").exists()


def test_tricks_and_unknown_configs(image_folder, tmp_path, capsys):
    words = (image_folder, tmp_path / "w", "--backbone", SPEC)
    assert _refused(capsys, *words, "--trick", "mixup") == "unknown trick 'mixup'; known: none"
    assert main(["minni", *_words(*words)[1:]]) == 2
    assert "unknown config 'minni'; did you mean 'mini'?" in capsys.readouterr().err


def test_several_processes(image_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert _refused(capsys, image_folder, tmp_path / "w", "--backbone", SPEC) == (
        "torchrun started 2 processes, but the probe runs in one; call python -m probe"
    )


def test_non_finite_features(image_folder, tmp_path, capsys):
    network = backbones.create(SPEC)
    with torch.no_grad():
        network.layer4[0].conv1.weight.fill_(float("nan"))
    path = tmp_path / "backbone.safetensors"
    backbones.export_checkpoint(network, path, replace(METADATA, top1=None))
    assert _refused(capsys, image_folder, tmp_path / "w", "--checkpoint", path) == (
        "features of 48 of 48 training images are not finite numbers; the training of the weights may have "
        "diverged"
    )
    assert not (tmp_path / "w" / "result.json").exists()


def test_torn_image(tmp_path, capsys):
    for split in ("train", "val"):
        for label in range(2):
            folder = tmp_path / "data" / split / f"c{label}"
            folder.mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (32, 32), (90 * label, 0, 0)).save(folder / f"{number}.png")
    torn = tmp_path / "data" / "train" / "c1" / "0.png"
    torn.write_bytes(torn.read_bytes()[:60])
    said = _refused(capsys, tmp_path / "data", tmp_path / "w", "--backbone", SPEC)
    assert said.startswith(f"the image {torn} cannot be decoded (")


def test_packed_folder_gives_the_same_numbers(image_folder, tmp_path, checkpoint):
    results = [
        _probe(data, tmp_path / name, "--checkpoint", checkpoint, settings=("iterations=20",))
        for name, data in (
            ("folder", image_folder),
            ("packed", packed_copy(image_folder, tmp_path / "set")),
        )
    ]
    assert results[0][0]["metrics"] == results[1][0]["metrics"]
    assert results[0][1] == results[1][1]
