"""Identity: what changes it, what does not, and how a difference is described."""

from __future__ import annotations

import pytest
from support.world import ROWS, World, forget_digests, make_root, make_suite

from benchmarks.plan import identity
from benchmarks.plan.compute import Compute
from benchmarks.plan.store import RunKey
from benchmarks.run.command import task_command
from benchmarks.suite.select import Selection
from contract.errors import UserError


def identities(world: World) -> dict[str, str | None]:
    return {f"{c.key.row}/{c.key.task}": c.identity for c in world.plan().runs}


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


RUN = "import backbones\nfrom engine import seeding\n{}\n"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("backbones/resnet.py", '"""Other words."""\n# A comment.\nWIDTH  =  64\n'),
        ("backbones/importing.py", "TENSORS = 2\n"),
        ("backbones/__main__.py", "from backbones import importing\nWORDS = 3\n"),
        ("cls_train/configs/base.py", '"""Words."""\nlr = 0.1  # as in the paper\n'),
        ("cls_train/configs/base.py", "lr = 0.1\nworkers = 9\ncheckpoint_every_epochs = 2\n"),
        ("cls_train/configs/imagenet.py", "lr = 5\n"),
        ("benchmarks/scripts/figures/beta.py", "COLOUR = 'red'\n"),
        ("probe/linear.py", "TOLERANCE = 1\n"),
        ("export/onnx/command.py", "IMAGES = 9\n"),
        ("engine/doctor.py", "IMAGES = 9\n"),
        ("contract/tasks.py", "LABEL = 'detection'\n"),
        ("det/configs/mini.py", "lr = 5\n"),
        ("det/train.py", "EPOCHS = 9\n"),
        ("cls_train/configs/tricks/mixup.py", "mixup = 1\n"),
    ],
)
def test_irrelevant_edits_of_classifier(world, file, text):
    before = identities(world)["standard/cls"]
    world.edit(file, text)
    assert identities(world)["standard/cls"] == before


@pytest.mark.parametrize(
    ("file", "text", "runs"),
    [
        ("backbones/resnet.py", "WIDTH = 32\n", {"scratch/det", "standard/cls", "tricks/cls"}),
        ("engine/seeding.py", "DRAWS = 2\n", {"scratch/det", "standard/cls", "tricks/cls"}),
        ("engine/run.py", RUN.format("LOSS = 2"), {"scratch/det", "standard/cls", "tricks/cls"}),
        ("cls_train/data.py", "CROP = 2\n", {"standard/cls", "tricks/cls"}),
        ("cls_train/configs/base.py", "lr = 0.2\n", {"standard/cls", "tricks/cls"}),
        ("cls_train/configs/tricks/cosine.py", "schedule = 'sine'\n", {"tricks/cls"}),
        ("cls_train/configs/tricks/warmup.py", "warmup = 2\n", {"tricks/cls"}),
        ("cls_train/configs/recipes/standard.py", "tricks = ['cosine']\n", {"standard/cls"}),
        ("det/train.py", "import engine.run\nEPOCHS = 9\n", {"scratch/det"}),
        ("det/configs/mini.py", "_base_ = 'mmdet::other.py'\n", {"scratch/det"}),
    ],
)
def test_relevant_edits_by_run(world, file, text, runs):
    before = identities(world)
    world.edit(file, text)
    after = identities(world)
    known = ("scratch/det", "standard/cls", "tricks/cls")
    assert {name for name in known if before[name] != after[name]} == runs


@pytest.mark.parametrize(
    ("compute", "changes"),
    [
        (Compute("cuda", {"auto": "float32"}), True),
        (Compute("cpu", {"auto": "bfloat16"}), True),
        (Compute("cpu", {"auto": "float32", "fp32": "other"}), False),
    ],
)
def test_device_and_number_format(world, compute, changes):
    before = identities(world)
    world.compute = compute
    assert (identities(world) != before) == changes


def test_precision_synonyms(world):
    before = identities(world)
    world.selection = Selection(precision="fp32")
    assert identities(world) == before
    world.selection = Selection(precision="bf16")
    assert identities(world)["standard/cls"] != before["standard/cls"]


def test_deterministic_algorithms_only_if_asked_for(world):
    components = world.plan().runs[0].components
    assert "deterministic" not in components
    world.selection = Selection(deterministic=True)
    plan = world.plan()
    assert plan.runs[0].components == {**components, "deterministic": True}
    assert all("--deterministic" in task_command(plan, run) for run in plan.runs)


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("workers", False),
        ("train_dataloader.num_workers", False),
        ("val_dataloader.persistent_workers", False),
        ("default_hooks.checkpoint.interval", False),
        ("train_dataloader.batch_size", True),
        ("default_hooks.ema.interval", True),
    ],
)
def test_ineffective_overrides(world, key, changes):
    before = identities(world)["scratch/det"]
    world.selection = Selection(overrides={"det": {key: 3}})
    assert (identities(world)["scratch/det"] != before) == changes


def test_identities_are_unique(world):
    world.run()
    found = list(identities(world).values())
    assert None not in found
    assert len(set(found)) == len(found)


def test_lr_factor_changes_its_task_only(tmp_path):
    before = identities(World(tmp_path))
    rows = tuple(row.with_task("seg", lr=0.3) if row.name == "scratch" else row for row in ROWS)
    after = identities(World(tmp_path, suite=make_suite(rows)))
    assert {name for name in before if before[name] != after[name]} == {"scratch/seg"}
    # A factor of 1 has no component.
    rows = tuple(row.with_task("det", lr=1.0) for row in ROWS)
    run = World(tmp_path, suite=make_suite(rows)).plan().find(RunKey("scratch", "det", 0))
    assert run.identity == before["scratch/det"]
    assert "lr_factor" not in (run.components or {})
    text = identity.explain(run.components or {}, {**(run.components or {}), "lr_factor": 0.3})
    assert text == "the factor on the learning rate differs (1 → 0.3)"


def test_difference_is_described(world):
    plan = world.plan()
    components = dict(plan.find(RunKey("tricks", "cls", 0)).components or {})
    other = {
        **components,
        "seed": 7,
        "code": {**components["code"], "engine/run.py": "x"},
        "packages": {**components["packages"], "torch": "9.9"},
        "dataset": "other",
        "overrides": {"lr": "1"},
        "recipe": {},
    }
    text = identity.explain(components, other)
    torch = components["packages"]["torch"]
    for part in (
        "the seed differs (0 → 7)",
        "code of engine/run.py differs",
        f"torch {torch} → 9.9",
        "the dataset differs",
        "the --set overrides differ",
        "cls_train/configs/tricks/cosine.py differs",
    ):
        assert part in text


def test_config_chain_ends_at_packages(tmp_path):
    root = make_root(tmp_path)
    forget_digests()
    assert list(identity.config_chain(root / "cls_train/configs/mini.py", root)) == [
        "cls_train/configs/mini.py",
        "cls_train/configs/base.py",
    ]
    chain = identity.config_chain(root / "det/configs/mini.py", root)
    assert chain["mmdet::pascal_voc/faster-rcnn.py"] is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("_base_ = 'absent.py'\n", "There is no file"),
        ("lr = (\n", "is not valid Python"),
        ("_base_ = make()\n", "must be written out as plain strings"),
    ],
)
def test_unresolvable_config(tmp_path, text, part):
    root = make_root(tmp_path)
    forget_digests()
    (root / "seg/configs/mini.py").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=part):
        identity.config_chain(root / "seg/configs/mini.py", root)


def test_own_network_is_covered(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "one_file_net.py").write_text("WIDTH = 8\n", encoding="utf-8")
    package = tmp_path / "net_package"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "layers.py").write_text("DEPTH = 2\n", encoding="utf-8")
    specs = ("one_file_net:Net", "net_package.nets:Net")
    before = [identity.own_code(spec) for spec in specs]
    assert [list(entry) for entry in before] == [["one_file_net"], ["net_package"]]
    (tmp_path / "one_file_net.py").write_text("WIDTH = 16\n", encoding="utf-8")
    (package / "layers.py").write_text("DEPTH = 3\n", encoding="utf-8")
    forget_digests()
    after = [identity.own_code(spec) for spec in specs]
    assert all(one != other for one, other in zip(before, after, strict=True))
    for spec in ("resnet50_d", "timm:resnet18", "torchvision:resnet18", "no_such_module:Net"):
        assert identity.own_code(spec) == {}
