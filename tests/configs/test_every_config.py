"""Every config of the tree assembles, builds, and resolves to what is stored in `resolved/`.

After a change on purpose, write the stored configs again and read their diff:

    TRICKBENCH_WRITE_RESOLVED=1 python -m pytest tests/configs/test_every_config.py
"""

import ast
import os
from pathlib import Path

import pytest
from mmengine.registry import MODELS, DefaultScope
from PIL import Image
from support.smallest_sets import write_detection, write_segmentation
from torch import nn

import backbones
from backbones import CheckpointMetadata
from cls_train.train import Classification
from contract.errors import UserError
from det.train import Detection
from engine.cli import Options
from engine.config import names
from engine.job import resolve_job
from engine.task import prepare
from seg.train import Segmentation

ROOT = Path(__file__).parents[2]
RESOLVED = Path(__file__).parent / "resolved"
WRITE = os.environ.get("TRICKBENCH_WRITE_RESOLVED") == "1"
LONGEST_LEAF = 45

# A new config or trick changes a stored file, so that it is added on purpose.
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in ("cls_train", "det", "seg", "engine")
    for path in ROOT.glob(f"{package}/**/configs/**/*.py")
)
DENSE_FILES = [file for file in FILES if not file.startswith("cls_train/")]
DENSE = {"det": Detection(), "seg": Segmentation()}


def _stems(folder):
    return sorted(path.stem for path in (ROOT / folder).glob("*.py"))


def _configs(*tasks):
    return [(task_name, name) for task_name in tasks for name in _stems(f"{task_name}/configs")]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The smallest sets that the three layouts admit."""
    root = tmp_path_factory.mktemp("data")
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            folder = root / "cls" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(folder / "0.png")
    write_detection(root / "det")
    write_segmentation(root / "seg")
    return root


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The checkpoint of a classifier of the two classes."""
    net = backbones.create("resnet10_b-w8")
    head = nn.Linear(net.feature_info[-1].channels, 2)
    path = tmp_path_factory.mktemp("teacher") / "backbone.safetensors"
    mean, std = (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)
    metadata = CheckpointMetadata("resnet10_b-w8", "standard", (), 1.0, mean, std, "RGB", 0, "raw")
    backbones.export_checkpoint(net, path, metadata, head=head)
    return path


@pytest.fixture
def resolve(data, teacher, tmp_path, monkeypatch):
    """Assemble a task's config, build its model, and return the resolved config as lines."""
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)

    def run(task, config, recipe=None, tricks=(), **overrides):
        options = Options(
            config=str(config),
            data=data / task.name,
            work_dir=tmp_path / "work",
            backbone="resnet10_d-w8",
            recipe=recipe,
            tricks=tricks,
            teacher=teacher if any("distillation" in trick for trick in tricks) else None,
            precision="fp32",
            overrides=overrides,
        )
        config = prepare(task, resolve_job(options))
        lines = list(
            _flat(
                config.to_dict(),
                "",
                {str(data): "DATA", str(teacher): "TEACHER", str(tmp_path): "TMP"},
            )
        )
        with DefaultScope.overwrite_default_scope(task.scope):
            model = MODELS.build(config.model)
        assert type(model.backbone).__name__ == "TransferBackbone"
        return lines

    return run


def _flat(node, path, places):
    """Lines `key.of.a.leaf = value`; values that depend on the machine are replaced by names."""
    if isinstance(node, dict) and node:
        for key in sorted(node):
            yield from _flat(node[key], f"{path}.{key}" if path else str(key), places)
    elif isinstance(node, (list, tuple)) and any(
        isinstance(part, (dict, list, tuple)) for part in node
    ):
        for index, part in enumerate(node):
            yield from _flat(part, f"{path}[{index}]", places)
    else:
        text = repr(node)
        for place, name in places.items():
            text = text.replace(place, name)
        yield f"{path} = {text}"


def _assert_stored(name, lines):
    path = RESOLVED / f"{name}.txt"
    if WRITE:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert lines == path.read_text(encoding="utf-8").splitlines()


def test_stored_configs_have_sources():
    known = {f"{task_name}-{name}" for task_name, name in _configs("det", "seg")}
    known |= {
        f"cls-{name}-{recipe}"
        for name in _stems("cls_train/configs")
        for recipe in _stems("cls_train/configs/recipes")
    }
    assert {path.stem for path in RESOLVED.iterdir()} == known


@pytest.mark.parametrize("recipe", _stems("cls_train/configs/recipes"))
@pytest.mark.parametrize("name", _stems("cls_train/configs"))
def test_cls_with_every_recipe_and_trick(resolve, name, recipe):
    lines = _with_every_trick(resolve, Classification(), name, recipe)
    _assert_stored(f"cls-{name}-{recipe}", lines)


@pytest.mark.parametrize(("task_name", "name"), _configs("det", "seg"))
def test_dense_with_every_trick(resolve, task_name, name):
    _assert_stored(f"{task_name}-{name}", _with_every_trick(resolve, DENSE[task_name], name))


def _with_every_trick(resolve, task, name, recipe=None):
    """The lines of a config, and for each trick the removed and added lines."""
    base = resolve(task, name, recipe)
    lines = list(base)
    for trick in names(*task.trick_folders):
        with_trick = resolve(task, name, recipe, (trick,))
        lines += ["", f"## with the trick {trick}"]
        lines += [f"- {line}" for line in base if line not in with_trick]
        lines += [f"+ {line}" for line in with_trick if line not in base]
    return lines


@pytest.mark.parametrize(
    ("task_name", "part", "wrong", "right"),
    [
        ("det", "neck", "num_out", "num_outs"),
        ("det", "roi_head", "bbox_heads", "bbox_head"),
        ("seg", "decode_head", "dropout_ration", "dropout_ratio"),
        ("seg", "backbone", "frozen_stage", "frozen_stages"),
    ],
)
def test_misspelt_nested_key(resolve, tmp_path, task_name, part, wrong, right):
    own = tmp_path / "own.py"
    base = ROOT / task_name / "configs" / "mini.py"
    own.write_text(f"_base_ = {str(base)!r}\nmodel = dict({part}=dict({wrong}=1))\n")
    with pytest.raises(UserError) as error:
        resolve(DENSE[task_name], own)
    assert f"unknown key in model.{part}: '{wrong}'; did you mean '{right}'" in str(error.value)


@pytest.mark.parametrize(
    ("task_name", "key"),
    [
        # Helper variables of the OpenMMLab configs, which only matter while the file is read.
        ("det", "max_epochs"),
        ("det", "data_root"),
        ("seg", "optimizer.lr"),
        ("seg", "norm_cfg.type"),
        ("seg", "data_preprocessor.mean"),
        # The command line sets these.
        ("det", "load_from"),
        ("seg", "env_cfg.cudnn_benchmark"),
        # Tasks validate and do not test.
        ("det", "test_evaluator.eval_mode"),
    ],
)
def test_ineffective_override(resolve, task_name, key):
    with pytest.raises(UserError) as error:
        resolve(DENSE[task_name], "mini", **{key: 1})
    assert f"unknown config key '{key}'; " in str(error.value)
    assert "nown: " in str(error.value)


@pytest.mark.parametrize("file", DENSE_FILES)
def test_leaf_configs_are_short_and_documented(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_LEAF
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("file", FILES)
def test_every_config_has_docstring(file):
    first = ast.parse((ROOT / file).read_text(encoding="utf-8")).body[0]
    assert isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)


def _keywords(node, owner=""):
    """Every keyword of nested `dict(…)` calls as `(name of the dict, keyword)`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Assign):
            yield from _keywords(child, child.targets[0].id)
        elif isinstance(child, ast.keyword):
            yield owner, child.arg
            yield from _keywords(child, child.arg)
        elif isinstance(child, ast.Dict):
            yield from ((owner, getattr(key, "value", None)) for key in child.keys)
            yield from _keywords(child, owner)
        else:
            yield from _keywords(child, owner)


@pytest.mark.parametrize("file", DENSE_FILES)
def test_no_config_sets_backbone_width(file):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    owners = {owner for owner, key in _keywords(tree) if key == "in_channels"}
    # Behind the neck, every level has the width of the neck.
    assert owners <= {"rpn_head", "bbox_head"}


@pytest.mark.parametrize(
    ("task_name", "name"), [(s, n) for s, n in _configs("det") if "c4" not in n]
)
def test_detector_heads_match_neck_width(resolve, task_name, name):
    values = dict(line.split(" = ", 1) for line in resolve(DENSE[task_name], name))
    width = values["model.neck.out_channels"]
    assert values["model.rpn_head.in_channels"] == width
    assert values["model.roi_head.bbox_roi_extractor.out_channels"] == width
    assert values["model.roi_head.bbox_head.in_channels"] == width
