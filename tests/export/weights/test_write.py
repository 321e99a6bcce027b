"""Checkpoints under the names of other programs."""

from dataclasses import replace

import pytest
import safetensors
import safetensors.torch
import timm
import torch
import torchvision
from support.checkpoints import write_classifier
from torch import nn

from backbones import CheckpointMetadata
from backbones.__main__ import main
from contract.errors import UserError
from export.weights.counterparts import find
from export.weights.write import export_weights

METADATA = CheckpointMetadata(
    "", "standard", (), None, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "RGB", 0, "raw"
)


@pytest.fixture
def written(tmp_path):
    """Write a checkpoint of random weights and batch statistics; return network, head and path."""

    def write(spec, classes=5):
        path = tmp_path / "backbone.safetensors"
        return *write_classifier(path, replace(METADATA, spec=spec), classes, seed=3), path

    return write


@pytest.mark.parametrize(
    "spec, build",
    [
        ("resnet18_d", lambda: timm.create_model("resnet18d", num_classes=5)),
        (
            "resnet14_c-w16",
            lambda: timm.create_model(
                "resnet50c",
                layers=(1, 1, 1, 1),
                channels=(16, 32, 64, 128),
                stem_width=8,
                num_classes=5,
            ),
        ),
        ("resnet18-se", lambda: timm.create_model("seresnet18", num_classes=5)),
        ("mobilenet_v1", lambda: timm.create_model("mobilenetv1_100", num_classes=5)),
        ("timm:regnetx_002", lambda: timm.create_model("regnetx_002", num_classes=5)),
        ("resnet18", lambda: torchvision.models.resnet18(num_classes=5)),
        ("torchvision:resnet18", lambda: torchvision.models.resnet18(num_classes=5)),
    ],
)
def test_library_logits_match(written, tmp_path, spec, build):
    network, head, path = written(spec)
    theirs = build()
    library = "torchvision" if theirs.__module__.startswith("torchvision") else "timm"
    report = export_weights(path, library, tmp_path / "out.pth")
    assert report.notes == ()
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    theirs.load_state_dict(state, strict=True)
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        ours = head(network(images)[-1].mean((2, 3)))
        torch.testing.assert_close(theirs.eval()(images), ours, rtol=1e-5, atol=1e-5)


def test_resnet50_d_maps_match_timm(written, tmp_path):
    network, _, path = written("resnet50_d", classes=0)
    report = export_weights(path, "timm", tmp_path / "out.safetensors")
    assert report.call == "timm.create_model('resnet50d', num_classes=0)"
    (note,) = report.notes
    assert note.startswith("the checkpoint holds no classifier, and neither does the file")
    theirs = timm.create_model("resnet50d", num_classes=0)
    theirs.load_state_dict(safetensors.torch.load_file(tmp_path / "out.safetensors"), strict=True)
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        maps = theirs.eval().forward_intermediates(images, intermediates_only=True)[1:]
        for ours, other in zip(network(images), maps, strict=True):
            torch.testing.assert_close(other, ours, rtol=1e-5, atol=1e-5)


def test_classifier_in_other_place_is_left_out(written, tmp_path):
    _, _, path = written("timm:convnext_atto")
    report = export_weights(path, "timm", tmp_path / "out.pth")
    assert report.head == "" and set(report.errors) == {f"stages.{i}" for i in range(4)}
    assert "head.norm.weight, head.norm.bias" in report.notes[0]
    theirs = timm.create_model("convnext_atto", num_classes=5)
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert set(missing) == {f"head.{n}.{p}" for n in ("norm", "fc") for p in ("weight", "bias")}
    assert not unexpected


def _use_average_pool(model):
    model.maxpool = nn.AvgPool2d(3, stride=2, padding=1)


def _return_nan_after_valid_maps(model):
    model.layer3.register_forward_hook(lambda _module, _inputs, output: output * float("nan"))


@pytest.mark.parametrize(
    "change, message",
    [
        (_use_average_pool, r"computes other maps than resnet10_d-w8 .*layer1 \d"),
        (_return_nan_after_valid_maps, r"computes other maps .*layer3 nan"),
    ],
    ids=["other maps", "not finite"],
)
def test_library_with_other_outputs_is_refused(written, tmp_path, monkeypatch, change, message):
    _, _, path = written("resnet10_d-w8")
    create = timm.create_model

    def create_changed(*arguments, **options):
        model = create(*arguments, **options)
        change(model)
        return model

    monkeypatch.setattr(timm, "create_model", create_changed)
    with pytest.raises(UserError, match=message):
        export_weights(path, "timm", tmp_path / "out.pth")
    assert not list(tmp_path.glob("*out*"))


def test_file_states_normalisation(written, tmp_path, capsys):
    _, _, path = written("resnet10_d-w8")
    out = tmp_path / "out.safetensors"
    assert main(["export", str(path), "--to", "timm", "--out", str(out)]) == 0
    output = capsys.readouterr().out
    assert "the classifier as fc" in output and "mean (0.485, 0.456, 0.406), std (0.229" in output
    assert "compared: read back and loaded, its layer1, layer2, layer3, layer4, logits" in output
    with safetensors.safe_open(out, "pt") as file:
        written = file.metadata()
    assert written["format"] == "pt" and written["mean"] == "[123.675, 116.28, 103.53]"
    assert written["channel_order"] == "RGB" and written["call"] in output


@pytest.mark.parametrize(
    "spec, library, message",
    [
        ("resnet50", "timm", "stride in the 3×3 .*; mmpretrain or mmdet has: --to mmpretrain"),
        ("resnet18_d", "torchvision", "neither the tweaks C and D.*timm or mmpretrain or mmdet"),
        ("resnet18-w32", "timm", "the stem of its ResNets without tweak C has 64 channels"),
        ("resnet50_b-dcn", "timm", "no deformable convolutions; no other program does"),
        ("inception_v3", "torchvision", "the paper's padding, as inception_v3-valid has"),
        ("mobilenet_v1-x0.5", "timm", "at width 1 alone; no other program does"),
        ("mobilenet_v1", "torchvision", "starts with MobileNet-V2; timm has: --to timm"),
        ("resnet18-se", "mmpretrain", "SE-ResNets have 50, 101 or 152 layers"),
        ("timm:resnet18", "torchvision", "it is a network of timm; timm has: --to timm"),
        ("own.nets:Net", "timm", "a network of your own; no other program does"),
    ],
)
def test_specs_without_counterpart(spec, library, message):
    with pytest.raises(UserError, match=message):
        find(spec, library)


def test_mistakes(written, tmp_path, capsys):
    _, _, path = written("resnet10_d-w8")
    assert main(["export", str(path), "--to", "timm", "--out", str(tmp_path / "x.bin")]) == 2
    assert "another suffix than .safetensors, .pth, .pt" in capsys.readouterr().err
    assert main(["export", str(path), "--to", "timm", "--out", str(tmp_path / "a" / "x.pt")]) == 2
    assert "of --out does not exist" in capsys.readouterr().err
