"""Weights that libraries publish, from their own caches, without a network connection."""

import huggingface_hub.constants
import pytest
import safetensors.torch
import timm
import torch
import torchvision

import backbones
from backbones import CheckpointError
from backbones.__main__ import main
from backbones.weights.importing import import_published
from contract.errors import UserError


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    # A download would raise, as on a machine without a network.
    monkeypatch.setattr(torch.hub, "download_url_to_file", _no_network)
    return tmp_path


def _no_network(*_, **__):
    raise OSError("no network")


def _equal(spec, path, wanted):
    network = backbones.create(spec)
    backbones.load_checkpoint(network, path, spec=spec)
    state = {n.removeprefix("trunk."): t for n, t in network.state_dict().items()}
    return all(torch.equal(tensor, wanted[name]) for name, tensor in state.items())


def test_timm_from_hub_cache(caches):
    spec = "timm:resnet10t.c3_in1k"
    state = timm.create_model("resnet10t").state_dict()
    repository = caches / "hub" / "models--timm--resnet10t.c3_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    file = repository / "snapshots" / ("0" * 40) / "model.safetensors"
    safetensors.torch.save_file(state, file)
    report = import_published(spec, caches / "o.safetensors")
    assert report.left == ("fc.weight", "fc.bias")
    assert _equal(spec, caches / "o.safetensors", state)
    metadata = backbones.read_metadata(caches / "o.safetensors")
    config = timm.get_pretrained_cfg("resnet10t.c3_in1k")
    assert metadata.mean == pytest.approx([255 * value for value in config.mean])
    assert metadata.std == pytest.approx([255 * value for value in config.std])


def test_torchvision_from_cache(caches, capsys):
    state = torchvision.models.resnet18().state_dict()
    folder = caches / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(state, folder / "resnet18-f37072fd.pth")
    out = caches / "o.safetensors"
    assert main(["import", "torchvision:resnet18", "published", "--out", str(out)]) == 0
    assert "120 tensors of torchvision:resnet18 from published" in capsys.readouterr().out
    assert _equal("torchvision:resnet18", out, state)
    assert backbones.read_metadata(out).mean == pytest.approx([123.675, 116.28, 103.53])


@pytest.mark.parametrize(
    ("spec", "tag", "error", "message"),
    [
        ("timm:resnet10t.c3_in1k", None, CheckpointError, "cannot be loaded .*HF_HOME, TORCH_HOME"),
        ("torchvision:resnet18", None, CheckpointError, r"cannot be loaded \(no network\)"),
        ("timm:resnet10t.c4_in1k", None, UserError, "did you mean 'resnet10t.c3_in1k'"),
        ("timm:resnet10t", "c3_in1k", UserError, "write timm:resnet10t.c3_in1k"),
        ("timm:resnet14t.no", None, UserError, "unknown timm weights of resnet14t"),
        ("timm:nonet", None, UserError, "unknown timm model 'nonet'"),
        ("torchvision:resnet18", "V1", UserError, "unknown torchvision weights .*IMAGENET1K_V1"),
        ("torchvision:nonet", None, UserError, "unknown torchvision model"),
        ("resnet50_b", None, UserError, "nobody publishes weights of 'resnet50_b'"),
    ],
)
def test_unavailable_weights(caches, spec, tag, error, message):
    with pytest.raises(error, match=message):
        import_published(spec, caches / "o.safetensors", tag=tag)
    assert not (caches / "o.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["published", "--normalisation", "caffe"], "--normalisation is for files"),
        (["published", "--by-order"], "--by-order is for files"),
        (["w.pth"], "--normalisation is missing: a file does not say"),
        (["w.pth", "--normalisation", "imagenet", "--tag", "V1"], "--tag names published weights"),
    ],
)
def test_contradicting_options(caches, capsys, words, message):
    out = str(caches / "o.safetensors")
    assert main(["import", "torchvision:resnet18", *words, "--out", out]) == 2
    assert message in capsys.readouterr().err
