"""The figures against independent formulas, the contents of the sheet, and the written files."""

import ast
import math
import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import backbones
from backbones import CheckpointMetadata
from benchmarks.scripts.figures import beta, contact_sheet, rates, sheet, smoothing
from benchmarks.scripts.figures.__main__ import DRAWN_BY, FIGURES, main
from cls_train.assemble import CONFIGS
from cls_train.schedules import SCHEDULES

STEPS = 2
W, EPOCHS, ETA = 5, 120, 0.4
# The rate at epoch t, written down without the schedulers.
FORMULAS = {
    "step": lambda t: ETA * 0.1 ** (t // 30),
    "step_every": lambda t: ETA * 0.96 ** (t // 8),
    "exponential": lambda t: ETA * 0.94 ** math.floor(t),
    "cosine": lambda t: ETA / 2 * (1 + math.cos(math.pi * (t - W) / (EPOCHS - W))),
    # mmengine's reaches 0 in the last iteration.
    "polynomial": lambda t: ETA * (1 - (t - W) / (EPOCHS - W - 1 / STEPS)) ** 2,
    "step_cosine": lambda t: (
        ETA * 0.1 ** (t // 30) if t < 60 else 0.02 * (1 + math.cos(math.pi * (t - 60) / 60))
    ),
}


@pytest.fixture(scope="module")
def recipes():
    return rates.schedule_recipes()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A network of random weights that separates the three classes of `image_folder`."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("figures") / "backbone.safetensors"
    network = backbones.create("resnet10_b-w8")
    metadata = CheckpointMetadata(
        "resnet10_b-w8", "standard", (), 33.3, (120.0, 110.0, 100.0), (60.0, 50.0, 40.0), "RGB", 0, "raw"
    )  # fmt: skip
    head = nn.Linear(network.feature_info[-1].channels, 3)
    backbones.export_checkpoint(network, path, metadata, head=head)
    return path


def test_draws_every_schedule(recipes):
    assert {recipe.schedule.type for recipe in recipes.values()} == set(SCHEDULES) == set(FORMULAS)


@pytest.mark.parametrize("kind", FORMULAS)
def test_learning_rates_match_formulas(recipes, kind):
    values = rates.learning_rates(recipes[kind], STEPS)
    assert len(values) == EPOCHS * STEPS
    after = [t for t in (5, 6.5, 20, 29.5, 30, 59.5, 60, 88, 104.5, 119)]
    assert [values[int(t * STEPS)] for t in after] == pytest.approx(
        [FORMULAS[kind](t) for t in after], rel=1e-6
    )
    # In the warm-up i · η / m, on top of what the schedules that count from epoch 0 have decayed by.
    decayed = {"exponential": 0.94**2}.get(kind, 1)
    assert values[5] == pytest.approx(ETA * 6 / (W * STEPS) * decayed)


def test_optimal_gap():
    # The paper's Fig. 4a: 9.1 for ImageNet at ε = 0.1.
    assert smoothing.optimal_gap(0.1, 1000) == pytest.approx(9.1, abs=0.01)
    # Logits with this gap give the smoothed labels back.
    logits = torch.zeros(7, dtype=torch.float64)
    logits[0] = float(smoothing.optimal_gap(0.3, 7))
    expected = torch.tensor([0.7] + [0.05] * 6, dtype=torch.float64)
    torch.testing.assert_close(logits.softmax(0), expected)


def test_measured_gap():
    logits = torch.tensor([[1.0, 5.0, 3.0], [-1.0, -1.0, -4.0]])
    assert smoothing.logit_gap(logits).tolist() == [5 - 2, -1 + 2.5]


def test_gap_uses_checkpoint_weights(checkpoint, image_folder, tiny_config):
    measured = smoothing.measure(checkpoint, image_folder / "val", str(tiny_config))
    assert measured.gaps.shape == (12,)
    assert (measured.num_classes, measured.top1) == (3, 33.3)
    network, head, _ = backbones.load_classifier(checkpoint)
    pixels = np.asarray(Image.open(image_folder / "val" / "c2" / "3.png"), dtype=np.float32)
    inputs = torch.from_numpy((pixels - (120, 110, 100)) / (60, 50, 40)).float().permute(2, 0, 1)
    with torch.no_grad():
        logits = head(network.eval()(inputs[None])[-1].mean((2, 3)))[0].sort().values
    assert measured.gaps[-1] == pytest.approx(float(logits[2] - logits[:2].mean()), rel=1e-4)


def test_mixing_weights():
    assert beta.mixing_alphas() == {"mixup": 0.2, "ricap": 0.3, "cutmix": 1.0}


def _shown(folder):
    groups = sheet.make_rows(*sheet.choose_images(folder, 3), seed=0)
    return groups, {row.name for rows in groups.values() for row in rows}


@pytest.fixture(scope="module")
def rows(image_folder):
    return _shown(image_folder / "val")


def test_sheet_has_every_image_trick(rows):
    files = (CONFIGS / "tricks").glob("*.py")
    touching = {
        path.stem for path in files if {"train_pipeline", "batch_mixing"} & runpy.run_path(str(path)).keys()
    }  # fmt: skip
    assert len(touching) >= 12
    groups, names = rows
    assert names == touching | {"original", "crop", "flip", "jitter", "pca"}
    tricks = [row for heading in groups for row in groups[heading] if heading.startswith("Tricks")]
    assert len(tricks) == len(touching)


def test_sheet_includes_new_trick(image_folder, tmp_path, monkeypatch):
    folder = tmp_path / "configs"
    shutil.copytree(CONFIGS, folder)
    (folder / "tricks" / "grey.py").write_text(
        'train_pipeline = dict(grey=dict(type="RandomGrayscale", p=1.0))\n'
    )
    monkeypatch.setattr(sheet, "CONFIGS", folder)
    groups, _ = _shown(image_folder / "val")
    row = next(row for row in groups["Tricks on one image"] if row.name == "grey")
    assert row.details == "RandomGrayscale (p\u00a01)"
    assert all((tile == tile[:1]).all() for tile in row.tiles)


def test_sheet_is_repeatable(rows, image_folder):
    again, _ = _shown(image_folder / "val")
    for heading, group in rows[0].items():
        for one, other in zip(group, again[heading], strict=True):
            assert one.captions == other.captions
            assert all(map(torch.equal, one.tiles, other.tiles))


def test_erasing_fills_share_rectangles(rows):
    by_name = {row.name: row for group in rows[0].values() for row in group}
    original = torch.stack(by_name["original"].tiles)
    black = torch.stack(by_name["random_erasing_constant"].tiles)
    mean = torch.stack(by_name["random_erasing_mean"].tiles)
    erased = (black != original).any(dim=1)
    assert erased.any()
    assert torch.equal(erased, (mean != original).any(dim=1))
    unchanged = [caption == ["unchanged"] for caption in by_name["random_erasing"].captions]
    assert unchanged == [not one.any() for one in erased]


@pytest.mark.parametrize(
    "slot",
    [dict(type="Mixup", alpha=1.0), dict(type="CutMix", alpha=1.0), dict(type="RICAP", beta=1.0)],
)
def test_label_weights_match_pixel_fractions(slot):
    values = {"a": 10, "b": 90, "c": 250}
    tiles = [torch.full((3, 64, 64), value, dtype=torch.uint8) for value in values.values()]
    mixed, weights = sheet.mix([slot], tiles, list(values), seed=3)
    for tile, fractions in zip(mixed, weights, strict=True):
        assert sum(fractions.values()) == pytest.approx(1)
        assert list(fractions.values()) == sorted(fractions.values(), reverse=True)
        expected = sum(fraction * values[name] for name, fraction in fractions.items())
        assert tile.float().mean().item() == pytest.approx(expected, abs=0.5)


def test_writes_all_figures(checkpoint, image_folder, tiny_config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rates, "STEPS_PER_EPOCH", STEPS)
    monkeypatch.setattr(contact_sheet, "TILE", 24)
    words = ["--out", tmp_path, "--images", image_folder / "val", "--config", tiny_config]
    words += ["--checkpoint", f"one={checkpoint}", "--checkpoint", f"two={checkpoint}"]
    assert main([str(word) for word in words]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    lines = {"lr_schedules", "label_smoothing", "beta"}
    assert names == {f"{n}.{s}" for n in lines for s in ("png", "svg")} | {"tricks_sheet.png"}
    for name in names:
        path = tmp_path / name
        if path.suffix == ".png":
            pixels = np.asarray(Image.open(path).convert("RGB"))
            assert pixels.shape[0] > 300 and pixels.shape[1] > 300
            assert (pixels != 255).any(axis=2).mean() > 0.02
        else:
            assert path.read_text("utf-8").count("<path") > 50
    lines = capsys.readouterr().out.splitlines()
    assert [re.match(r"Wrote (\S+): .*\.$", line)[1] for line in lines] == [
        str(tmp_path / f"{n}.{s}") for n in FIGURES[:3] for s in ("png", "svg")
    ] + [str(tmp_path / "tricks_sheet.png")]


def test_draws_without_checkpoints_and_images(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawn = []
    for name in FIGURES:
        if name != "label_smoothing":
            monkeypatch.setitem(
                DRAWN_BY, name, lambda options, name=name: (drawn.append(name), [])[::-1]
            )
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "Left out tricks_sheet" in out and "python -m benchmarks data prepare miniworld" in out
    assert "Left out the gap of trained networks: name some with --checkpoint" in out
    assert out.count("python -m cls_train.train mini") == 2
    assert "--trick label_smoothing" in out
    assert drawn == ["lr_schedules", "beta"]
    assert (tmp_path / "runs/figures/label_smoothing.png").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["lr_schedule"], "unknown figure 'lr_schedule'; did you mean 'lr_schedules'?"),
        (["--imags", "x"], "unknown option '--imags'; did you mean '--images'?"),
        (["--images", "nowhere"], "the images nowhere do not exist; generate it with `python -m"),
        (["tricks_sheet"], "the images data/miniworld/mini/cls/val do not exist; generate"),
        (["--images", "."], "holds splits; name one of them, such as --images val"),
        (["tricks_sheet", "--images", "val"], "val holds one image; the sheet mixes images"),
        (["--checkpoint", "file"], "it must read NAME=FILE, such as --checkpoint smoothed="),
        (["--checkpoint", "a=x", "--checkpoint", "a=y"], "--checkpoint names 'a' twice"),
        (["beta", "--checkpoint", "a=x"], "only label_smoothing reads it; name it too"),
        (["--seed", "-1"], "--seed -1 was given; it must lie in 0 to 4294967295"),
        (["--out", "file", "beta"], "the folder file cannot be made (File exists); name another"),
        (["label_smoothing", "--images", "val", "--checkpoint", "a=none"], "none does not exist"),
        (
            ["label_smoothing", "--images", "val", "--config", "min", "--checkpoint", "a=CHECKPOINT"],
            "unknown config 'min'; did you mean 'mini'?",
        ),
        (
            ["label_smoothing", "--images", "val", "--checkpoint", "a=CHECKPOINT"],
            "has 3 classes, val has 1; name with --images a split of the data",
        ),
    ],
)  # fmt: skip
def test_mistakes(words, sentence, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("val/cat").mkdir(parents=True)
    Image.new("RGB", (32, 32), "red").save("val/cat/0.png")
    assert main([word.replace("CHECKPOINT", str(checkpoint)) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert sentence in error


def test_training_does_not_import_figures():
    for path in CONFIGS.parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(n.startswith(("matplotlib", "benchmarks")) for n in names), path
