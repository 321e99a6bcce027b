"""Weights under another program's names, by order and shape, and tensors that may be missing."""

import pytest
import timm
import torch
import torchvision

import backbones
from backbones import CheckpointError
from backbones.__main__ import main
from backbones.weights.importing import NORMALISATIONS, import_weights
from contract.errors import UserError

SPEC = "resnet10_b-w8"
IMAGENET = NORMALISATIONS["imagenet"]
LITE = "timm:tf_efficientnet_lite0"


def _numbered(state):
    """Other names in the same order: a number for each module."""
    modules = list(dict.fromkeys(name.rpartition(".")[0] for name in state))
    return {
        f"op{modules.index(name.rpartition('.')[0])}.{name.rpartition('.')[2]}": torch.rand(t.shape)
        if t.is_floating_point()
        else t
        for name, t in state.items()
    }


@pytest.mark.parametrize(
    ("spec", "classifier"),
    [
        (SPEC, lambda: backbones.create(SPEC)),
        (LITE, lambda: timm.create_model("tf_efficientnet_lite0", num_classes=7)),
        ("torchvision:mobilenet_v2", lambda: torchvision.models.mobilenet_v2(num_classes=7)),
    ],
)
def test_maps_other_names_by_order(tmp_path, spec, classifier):
    source = classifier().eval()
    named = source.state_dict()
    renamed = _numbered(named)
    torch.save({"state_dict": renamed}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="--by-order matches its tensors by order and shape"):
        import_weights(spec, tmp_path / "w.pth", tmp_path / "o.safetensors", IMAGENET)
    report = import_weights(
        spec, tmp_path / "w.pth", tmp_path / "o.safetensors", IMAGENET, in_order=True
    )
    # The n-th name of the one is the n-th of the other.
    wanted = dict(zip(named, renamed, strict=True))
    assert report.source_names == {n: wanted[n] for n in report.source_names}
    network = backbones.create(spec)
    backbones.load_checkpoint(network, tmp_path / "o.safetensors", spec=spec)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, renamed[wanted[name.removeprefix("trunk.")]]), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("op3.weight"),
            r"layer 4 of the backbone is layer1.0.bn1 \(weight \[8\], bias \[8\], .* the file has op3",
        ),
        (
            lambda s: [s.pop(n) for n in list(s) if n.startswith("op23.")],
            r"there the file has nothing more \(\)",
        ),
        (
            lambda s: s.update({"op2.weight": s["op2.weight"].flatten(1)}),
            r"is layer1.0.conv1 \(weight \[8, 8, 3, 3\]\), and there the file has op2 \(weight \[8, 72\]",
        ),
        (lambda s: s.update({"op5.running_var": -torch.ones(8)}), "op5.running_var holds negative"),
    ],
    ids=["a tensor", "the last layer", "flattened", "negative variance"],
)
def test_wrong_order_is_refused(tmp_path, change, message):
    renamed = _numbered(backbones.create(SPEC).state_dict())
    change(renamed)
    torch.save(renamed, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=message):
        import_weights(
            SPEC, tmp_path / "w.pth", tmp_path / "o.safetensors", IMAGENET, in_order=True
        )
    assert not (tmp_path / "o.safetensors").exists()


def test_ambiguous_order_needs_key(tmp_path):
    renamed = _numbered(backbones.create(SPEC).state_dict())
    torch.save({"model": renamed, "model_ema": renamed}, tmp_path / "w.pth")
    words = [SPEC, tmp_path / "w.pth", tmp_path / "o.safetensors", IMAGENET]
    with pytest.raises(
        CheckpointError, match=r"in 2 places \('model', 'model_ema'\); name one by --key"
    ):
        import_weights(*words, in_order=True)
    assert import_weights(*words, in_order=True, key="model_ema").key == "model_ema"
    assert backbones.read_metadata(tmp_path / "o.safetensors").weights == "ema"
    with pytest.raises(UserError, match="leave out --prefix and --allow-missing"):
        import_weights(*words, in_order=True, allow_missing=["bn1.*"])


def test_allowed_missing_tensors_are_recorded(tmp_path, capsys):
    torch.manual_seed(5)
    state = {
        n: torch.rand(t.shape) if t.is_floating_point() else t
        for n, t in backbones.create(SPEC).state_dict().items()
    }
    lacking = {n: t for n, t in state.items() if not n.startswith("layer4")}
    torch.save(lacking, tmp_path / "w.pth")
    words = [SPEC, tmp_path / "w.pth", tmp_path / "o.safetensors", IMAGENET]
    before = torch.get_rng_state()
    report = import_weights(*words, allow_missing=["layer4.*"])
    assert torch.equal(torch.get_rng_state(), before)
    expected = {n for n in state if n.startswith("layer4") and not n.endswith("tracked")}
    assert set(report.random) == expected
    assert set(backbones.read_metadata(tmp_path / "o.safetensors").random) == expected
    network = backbones.create(SPEC)
    backbones.load_checkpoint(network, tmp_path / "o.safetensors")
    torch.manual_seed(0)
    fresh = backbones.create(SPEC).state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, lacking.get(name, fresh[name])), name
    for patterns, message in (
        (["layer3.*", "layer4.*"], "'layer3.*' matches no tensor that is missing from"),
        (["layer4.0.*"], r"\d+ missing: layer4.1.conv1|does not hold"),
        ([], "missing: layer4"),
    ):
        if patterns == ["layer4.0.*"] and not any(n.startswith("layer4.1") for n in state):
            continue
        with pytest.raises(CheckpointError, match=message.replace("*", r"\*", 1)):
            import_weights(*words, allow_missing=patterns)
    command = ["import", SPEC, str(words[1]), "--out", str(words[2]), "--normalisation", "imagenet"]
    assert main([*command, "--allow-missing", "layer4.*"]) == 0
    assert f"RANDOM: {len(expected)} tensors are missing from the file" in capsys.readouterr().out


def test_prints_map(tmp_path, capsys):
    torch.save(_numbered(backbones.create(SPEC).state_dict()), tmp_path / "w.pth")
    command = ["import", SPEC, str(tmp_path / "w.pth"), "--out", str(tmp_path / "o.safetensors")]
    assert main([*command, "--normalisation", "imagenet", "--by-order"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["op0.weight", "->", "conv1.weight"] in lines
    assert ["op1.running_var", "->", "bn1.running_var"] in lines
