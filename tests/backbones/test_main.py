"""``python -m backbones``."""

import json

import backbones
from backbones.__main__ import main
from backbones.zoo import SUFFIXES


def test_table_lists_every_name(capsys):
    assert main([]) == 0
    output = capsys.readouterr().out
    for name in backbones.names():
        assert f"\n{name} " in output
    assert "-wN: base width N instead of 64" in output
    for suffix in SUFFIXES:
        assert f"{suffix.form}: {suffix.meaning} (" in output


def test_describe_as_json(capsys):
    assert main(["describe", "resnet10_d-w32", "--output-stride", "8", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    network = backbones.create("resnet10_d-w32", output_stride=8)
    assert described["parameters"] == backbones.count_parameters(network)
    assert described["multiply_adds_at_224"] == backbones.multiply_adds(network, (224, 224))
    assert described["features"] == [f._asdict() for f in network.feature_info]


def test_cost_at_published_input_size(capsys):
    assert main(["describe", "inception_v3-x0.25", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    network = backbones.create("inception_v3-x0.25")
    assert described["input_size"] == 299
    assert described["multiply_adds"] == backbones.multiply_adds(network, (299, 299))
    assert described["multiply_adds_at_224"] == backbones.multiply_adds(network, (224, 224))
    assert main(["describe", "inception_v3-x0.25"]) == 0
    text = capsys.readouterr().out
    assert f"multiply-adds at 299  {described['multiply_adds']:,}\n" in text
    assert "input size            299\n" in text
    assert "Conv2d_4a_3x3       48       4\n" in text


def test_describe_as_text(capsys):
    assert main(["describe", "resnet18"]) == 0
    assert "layer4          512      32" in capsys.readouterr().out


def test_user_error_exits_with_2(capsys):
    assert main(["describe", "resnet51"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: unknown backbone 'resnet51'; did you mean 'resnet50'")
    assert captured.out == ""


def test_check_reports_each_property(capsys):
    specs = ["resnet10_d-w8", "timm:mobilenetv3_small_050", "timm:xcit_nano_12_p16_224"]
    assert main(["check", *specs]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert rows[0] == "| `resnet10_d-w8` | 0.1 M | 8, 16, 32, 64 | native | native |  |"
    assert rows[1].endswith("| 8, 16, 24, 288 | dilated | dilated |  |")
    assert rows[2].endswith("| 128 | pyramid | pyramid |  |")
    assert main(["check", "timm:levit_128s"]) == 2
    assert "| no: has maps at the strides 16, 32 |" in capsys.readouterr().out
