"""The imports between the folders, read from the source; import-linter checks them by other means."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TASKS = ("cls_train", "det", "seg", "probe")
OPENMMLAB = {"mmengine", "mmcv", "mmdet", "mmseg"}
FORBIDDEN = {
    "contract": {
        "datasets",
        "backbones",
        "engine",
        *TASKS,
        "export",
        "benchmarks",
        "torch",
        *OPENMMLAB,
    },
    "datasets": {
        "backbones",
        "engine",
        *TASKS,
        "export",
        "benchmarks",
        "torch",
        "torchvision",
        "timm",
        *OPENMMLAB,
    },
    "backbones": {"engine", *TASKS, "export", "benchmarks", *OPENMMLAB},
    "engine": {*TASKS, "export", "benchmarks"},
    "cls_train": {"det", "seg", "probe", "export", "benchmarks", "mmdet", "mmseg"},
    "probe": {"cls_train", "det", "seg", "export", "benchmarks", "mmdet", "mmseg"},
    "det": {"cls_train", "seg", "probe", "export", "benchmarks", "mmseg"},
    "seg": {"cls_train", "det", "probe", "export", "benchmarks", "mmdet"},
    "export": {"benchmarks"},
    "benchmarks": {
        "backbones",
        "engine",
        *TASKS,
        "export",
        "torch",
        "torchvision",
        "timm",
        *OPENMMLAB,
    },
}
LAYERS = {
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvModule",
    "BatchNorm2d",
    "SyncBatchNorm",
    "Linear",
    "Sequential",
}
NETWORKS = {"Module", "BaseModule", "BaseModel", "Backbone", "ResNet", "ModuleList"}


def _sources(folder):
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, folder
    return [
        (path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))) for path in found
    ]


def _imported(tree):
    """Every module that a file imports, in functions and by name too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
        elif isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            first = node.args[0]
            if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield first.value


def _last_name(node):
    return getattr(node, "attr", getattr(node, "id", None))


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_go_one_way(folder):
    wrong = [
        f"{name} imports {module}"
        for name, tree in _sources(folder)
        for module in _imported(tree)
        if module.split(".")[0] in FORBIDDEN[folder]
    ]
    # engine/config.py asks the registry of whichever of the two the task has loaded.
    allowed = {"engine/config.py imports mmdet.registry", "engine/config.py imports mmseg.registry"}
    # `python -m backbones export` passes its options on, by name.
    allowed |= {"backbones/__main__.py imports export.weights.command"}
    # Scripts may import everything.
    wrong = [line for line in wrong if not line.startswith("benchmarks/scripts/")]
    assert set(wrong) <= allowed


def test_nothing_imports_scripts():
    for folder in FORBIDDEN:
        for name, tree in _sources(folder):
            if not name.startswith("benchmarks/scripts/"):
                assert not [m for m in _imported(tree) if m.startswith("benchmarks.scripts")], name


@pytest.mark.parametrize("folder", ["det", "seg"])
def test_dense_tasks_build_no_network(folder):
    found = []
    for name, tree in _sources(folder):
        for node in ast.walk(tree):
            if isinstance(node, (ast.Attribute, ast.Name)) and _last_name(node) in LAYERS:
                found.append(f"{name}:{node.lineno} uses {_last_name(node)}")
            if isinstance(node, ast.ClassDef):
                bases = {_last_name(base) for base in node.bases}
                if bases & NETWORKS or "ResNet" in node.name or "Backbone" in node.name:
                    found.append(f"{name}:{node.lineno} defines {node.name}")
    # It chains parts of the network, a stage of its backbone among them, and holds no weights of its own.
    chains = {"det": ["det/c4.py"], "seg": []}
    assert sorted(text.split(":")[0] for text in found) == chains[folder]


def test_one_resnet_exists():
    defined = [
        name
        for folder in FORBIDDEN
        for name, tree in _sources(folder)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name == "ResNet"
    ]
    assert defined == ["backbones/nets/resnet.py"]


def test_model_parts_of_dense_tasks_are_listed():
    registered = {
        node.name
        for folder in ("det", "seg")
        for _, tree in _sources(folder)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for decorator in node.decorator_list
        if ast.unparse(decorator).startswith("MODELS.register_module")
    }
    assert registered == {
        "FasterRCNNC4",
        "FocalCrossEntropyLoss",
        "Float32RoIExtractor",
        "LossOnlyFCNHead",
        "QualityBBoxHead",
    }
