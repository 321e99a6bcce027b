"""Files of weights in common formats: loaded correctly, or refused with a reason."""

import io
import pickle
import zipfile

import pytest
import safetensors.torch
import timm
import torch
import torchvision

import backbones
from backbones import CheckpointError
from backbones.__main__ import main
from backbones.weights.importing import NORMALISATIONS, import_weights, normalisation_of
from contract.errors import UserError

SPEC = "resnet10_b-w8"
IMAGENET = NORMALISATIONS["imagenet"]


@pytest.fixture
def state():
    """Weights of a complete classifier, unlike any fresh ones."""
    network = backbones.create(SPEC)
    found = {
        name: torch.rand(t.shape) if t.is_floating_point() else t + 7
        for name, t in network.state_dict().items()
    }
    return found | {"fc.weight": torch.rand(10, 64), "fc.bias": torch.rand(10)}


@pytest.fixture
def imported(tmp_path):
    """Save something, import it, and return the report and the loaded backbone's tensors."""

    def run(content, *, name="w.pth", spec=SPEC, **options):
        path = tmp_path / name
        if name.endswith(".safetensors"):
            safetensors.torch.save_file(content, path)
        else:
            torch.save(content, path)
        report = import_weights(spec, path, tmp_path / "out.safetensors", IMAGENET, **options)
        network = backbones.create(spec)
        loaded = backbones.load_checkpoint(network, tmp_path / "out.safetensors", spec=spec)
        assert loaded.sha256 == report.sha256
        assert loaded.matched == loaded.total
        return report, network.state_dict()

    return run


def _same(found, wanted):
    return all(torch.equal(value, wanted[name]) for name, value in found.items())


@pytest.mark.parametrize(
    ("wrap", "key", "prefix"),
    [
        (lambda s: s, "", ""),
        (lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"lr": 0.1}}, "state_dict", ""),
        (lambda s: {"model": {f"module.{n}": t for n, t in s.items()}}, "model", "module."),
        (lambda s: {"model_ema": s}, "model_ema", ""),
        (
            lambda s: {
                "state_dict": {f"backbone.{n}": t for n, t in s.items()} | {"head.w": s["fc.bias"]}
            },
            "state_dict",
            "backbone.",
        ),
        (
            lambda s: {"teacher": {f"module.backbone.{n}": t for n, t in s.items()}},
            "teacher",
            "module.backbone.",
        ),
        (
            lambda s: (
                {f"module.encoder_q.{n}": t for n, t in s.items()}
                | {"module.queue": torch.rand(4, 9)}
            ),
            "",
            "module.encoder_q.",
        ),
    ],
    ids=["plain", "state_dict", "DDP", "EMA alone", "mmpretrain", "DINO", "MoCo"],
)
def test_finds_nested_tensors(state, imported, wrap, key, prefix):
    report, loaded = imported(wrap(state))
    assert (report.key, report.prefix, report.taken) == (key, prefix, len(loaded))
    assert _same(loaded, state)


def test_reads_safetensors(state, imported):
    report, loaded = imported(state, name="w.safetensors")
    assert _same(loaded, state)
    assert set(report.left) == {"fc.weight", "fc.bias"}


def test_half_precision_is_converted_and_reported(state, imported):
    half = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
    report, loaded = imported(half)
    assert report.notes[0] == "converted from float16"
    assert _same(loaded, {n: t.float() if t.is_floating_point() else t for n, t in half.items()})


def test_missing_batch_counters_are_reported(state, imported):
    report, loaded = imported({n: t for n, t in state.items() if "num_batches" not in n})
    assert "counters of batches are missing from the file and start at 0" in report.notes[0]
    assert not loaded["bn1.num_batches_tracked"]


def test_ambiguous_state_dicts_need_key(state, imported):
    other = {n: t + 1 for n, t in state.items()}
    both = {"model": state, "model_ema": other}
    with pytest.raises(
        CheckpointError, match=r"2 times, with different weights; choose one of: --key model --"
    ):
        imported(both)
    assert _same(imported(both, key="model")[1], state)
    assert _same(imported(both, key="model_ema")[1], other)
    with pytest.raises(CheckpointError, match="unknown key 'ema'"):
        imported(both, key="ema")
    # Momentum encoders of one file likewise.
    pair = {f"q.{n}": t for n, t in state.items()} | {f"k.{n}": t for n, t in other.items()}
    with pytest.raises(CheckpointError, match="2 times"):
        imported(pair)
    assert _same(imported(pair, prefix="k.")[1], other)
    # The same weights twice are not ambiguous.
    assert _same(imported({"model": state, "copy": dict(state)})[1], state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layer2.0.conv1.weight"), "1 missing: layer2.0.conv1.weight"),
        (lambda s: [s.pop(n) for n in list(s) if n.startswith("layer")], "missing: layer1.0.conv1"),
        (
            lambda s: s.update({"conv1.weight": s["conv1.weight"].transpose(0, 1).contiguous()}),
            r"1 of another shape: conv1.weight \(file float32\[3, 8",
        ),
        (
            lambda s: s.update({"layer3.1.conv1.weight": torch.rand(32, 32, 3, 3)}),
            "1 that are not the backbone's: layer3.1.conv1.weight",
        ),
        (
            lambda s: s.update({"bn1.weight": torch.full((8,), float("nan"))}),
            "bn1.weight holds numbers that are not finite",
        ),
        (lambda s: s.update({"bn1.running_var": -torch.ones(8)}), "holds negative variances"),
        (lambda s: s.clear() or s.update({"a": torch.ones(2)}), "holds no tensor of resnet10_b-w8"),
        (lambda s: s.clear(), "holds no tensor of resnet10_b-w8"),
        (
            lambda s: [s.update({f"net.{n}" if "layer1" in n else n: s.pop(n)}) for n in list(s)],
            "missing: layer1",
        ),
    ],
    ids=[
        *("a key", "half the keys", "transposed", "a deeper network's"),
        *("NaN", "negative variance", "another network's", "empty", "two prefixes"),
    ],
)
def test_mismatch_is_refused(state, imported, change, message):
    change(state)
    with pytest.raises(CheckpointError, match=message):
        imported(state)


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code was run')",))


def test_hostile_and_damaged_files_are_refused(state, tmp_path):
    out = tmp_path / "out.safetensors"

    def refused(path, message):
        with pytest.raises(CheckpointError, match=message):
            import_weights(SPEC, path, out, IMAGENET)
        assert not out.exists()

    code = tmp_path / "code.pth"
    torch.save({"state_dict": state, "hook": Evil()}, code)
    refused(code, "could run code")
    code.write_bytes(pickle.dumps(Evil()))
    refused(code, "could run code")
    whole = tmp_path / "whole.pth"
    torch.save(backbones.create(SPEC), whole)
    refused(whole, "could run code")
    good = io.BytesIO()
    torch.save(state, good)
    torn = tmp_path / "torn.pth"
    torn.write_bytes(good.getvalue()[: len(good.getvalue()) // 2])
    refused(torn, "truncated|damaged")
    bomb = tmp_path / "bomb.pth"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"0" * 10_000_000)
    refused(bomb, "compressed archive")
    half = tmp_path / "half.safetensors"
    safetensors.torch.save_file(state, half)
    half.write_bytes(half.read_bytes()[:-100])
    refused(half, "truncated or no safetensors")
    text = tmp_path / "page.pth"
    text.write_text("<html>404 not found</html>")
    refused(text, "damaged|no file of weights")
    refused(tmp_path / "nowhere.pth", "there is no file")


def test_other_stride_variants_are_distinguished(tmp_path):
    path = tmp_path / "r50.pth"
    torch.save(torchvision.models.resnet50().state_dict(), path)
    with pytest.raises(CheckpointError, match="belong to resnet50_b: name that"):
        import_weights("resnet50", path, tmp_path / "out.safetensors", IMAGENET)
    report = import_weights("resnet50_b", path, tmp_path / "out.safetensors", IMAGENET)
    assert report.taken == 318


@pytest.mark.parametrize(
    "spec", ["timm:mobilenetv3_small_050", "timm:convnext_atto", "torchvision:resnet18"]
)
def test_library_files_reproduce_features(tmp_path, spec):
    name = spec.partition(":")[2]
    torch.manual_seed(3)
    if spec.startswith("timm"):
        source = timm.create_model(name).eval()
        reference = timm.create_model(name, features_only=True, out_indices=(-1,)).eval()
    else:
        source = torchvision.models.get_model(name).eval()
    path = tmp_path / "w.pth"
    torch.save({"state_dict": source.state_dict()}, path)
    report = import_weights(spec, path, tmp_path / "out.safetensors", IMAGENET)
    network = backbones.create(spec).eval()
    backbones.load_checkpoint(network, tmp_path / "out.safetensors", spec=spec)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        last = network(image)[-1]
        if spec.startswith("timm"):
            ours = {n.replace(".", "_"): t for n, t in source.state_dict().items()}
            names = reference.state_dict()
            reference.load_state_dict({n: ours[n.replace(".", "_")] for n in names})
            wanted = reference(image)[-1]
        else:
            children = list(source.children())[:-2]
            wanted = torch.nn.Sequential(*children)(image)
    torch.testing.assert_close(last, wanted, rtol=1e-4, atol=1e-4)
    assert report.left


def test_normalisation_from_file(state, tmp_path):
    torch.save(state, tmp_path / "w.pth")
    import_weights(SPEC, tmp_path / "w.pth", tmp_path / "o.safetensors", NORMALISATIONS["caffe"])
    metadata = backbones.read_metadata(tmp_path / "o.safetensors")
    assert (metadata.channel_order, metadata.std) == ("BGR", (1.0, 1.0, 1.0))
    assert (metadata.recipe, metadata.top1) == ("imported", None)
    with pytest.raises(UserError, match="unknown normalisation 'imagnet'; did you mean 'imagenet'"):
        normalisation_of("imagnet")


def test_command(state, tmp_path, capsys):
    torch.save({"model": state}, tmp_path / "w.pth")
    words = ["import", SPEC, str(tmp_path / "w.pth"), "--out", str(tmp_path / "o.safetensors")]
    assert main([*words, "--normalisation", "imagenet"]) == 0
    output = capsys.readouterr().out
    assert "tensors of resnet10_b-w8" in output
    assert "(key 'model', prefix '')" in output
    assert "not taken: 2 (fc.weight, fc.bias)" in output
    assert main([*words, "--normalisation", "nets"]) == 2
    assert "unknown normalisation" in capsys.readouterr().err


def test_output_folder_is_created_or_refused(state, tmp_path, capsys):
    torch.save(state, tmp_path / "w.pth")
    words = ["import", SPEC, str(tmp_path / "w.pth"), "--normalisation", "imagenet", "--out"]
    assert main([*words, str(tmp_path / "a" / "b" / "o.safetensors")]) == 0
    assert (tmp_path / "a" / "b" / "o.safetensors").is_file()
    assert main([*words, str(tmp_path / "w.pth" / "o.safetensors")]) == 2
    assert "cannot be written (" in capsys.readouterr().err
