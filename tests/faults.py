"""Deliberate faults that ruin a benchmark without a crash, one at a time: do the tests detect each?

Command: python tests/faults.py [NAME…]

Each fault is inserted into a copy of the tree, and the named tests run there; they must fail. The test command leaves
this out, since it takes minutes; tests/test_faults.py checks that the places still exist.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Fault:
    """A change of one place, and the tests that must fail then."""

    name: str
    file: str
    right: str
    wrong: str
    tests: str


FAULTS = (
    Fault(
        "boxes off by one pixel",
        "datasets/layouts/voc_xml.py",
        "int(corner) - 1 if",
        "int(corner) if",
        "tests/det/test_dataset.py",
    ),
    Fault(
        "classes in another order",
        "datasets/layouts/imagefolder.py",
        "key=lambda path: path.name)",
        "key=lambda path: path.name, reverse=True)",
        "tests/engine/test_image_folder.py",
    ),
    Fault(
        "difficult objects counted",
        "det/metric.py",
        'np.full(len(label), key == "difficult")',
        "np.full(len(label), False)",
        "tests/det/test_metric.py",
    ),
    Fault(
        "labels shifted by one",
        "seg/labels.py",
        "labels.astype(np.int16) - 1",
        "labels.astype(np.int16)",
        "tests/seg/test_labels.py",
    ),
    Fault(
        "BGR for RGB",
        "engine/normalisation.py",
        'bgr_to_rgb=job.source.channel_order == "RGB"',
        'bgr_to_rgb=job.source.channel_order == "BGR"',
        "tests/engine/dense/test_assemble.py",
    ),
    Fault(
        "wrong mean",
        "engine/normalisation.py",
        "mean=list(job.source.mean)",
        "mean=list(IMAGENET_MEAN)",
        "tests/engine/dense/test_assemble.py",
    ),
    Fault(
        "averaged weights not exported",
        "cls_train/train.py",
        "        model: Any = measured_model(runner)\n",
        "        model: Any = runner.model\n",
        "tests/cls_train/test_ema.py",
    ),
    Fault(
        "eight times the learning rate on one device",
        "det/configs/voc0712.py",
        "auto_scale_lr = dict(enable=True,",
        "auto_scale_lr = dict(enable=False,",
        "tests/configs/test_every_config.py",
    ),
    Fault(
        "shuffled labels",
        "engine/image_folder.py",
        '"labels": self.samples.label(index)}',
        '"labels": (self.samples.label(index) + index) % len(self.samples)}',
        "tests/engine/test_image_folder.py",
    ),
    Fault(
        "tested on the training split",
        "cls_train/assemble.py",
        'root / "val"',
        'root / "train"',
        "tests/cls_train/test_tricks.py",
    ),
    Fault(
        "a leaked split not reported",
        "datasets/verify.py",
        "leak_problems(splits.train_contents(), splits.test_contents())",
        "[]",
        "tests/datasets/test_verify.py",
    ),
    Fault(
        "weights that do not load",
        "engine/adapter.py",
        "backbones.load_checkpoint(self.net, Path(checkpoint), spec=spec)",
        "backbones.load_checkpoint(backbones.create(spec), Path(checkpoint))",
        "tests/engine/test_adapter.py",
    ),
    Fault(
        "a GPU that torch cannot use trains on the CPU",
        "engine/runner/device.py",
        "if hardware.cards:",
        "if hardware.cards and asked_for:",
        "tests/engine/runner/test_device.py",
    ),
    Fault(
        "--device cpu leaves mmengine on the GPU",
        "engine/runner/device.py",
        "mmengine_device.DEVICE = device_type",
        "mmengine_device.DEVICE = default",
        "tests/engine/runner/test_device.py",
    ),
    Fault(
        "one MIG instance of each GPU",
        "engine/gpus.py",
        "for one in card.instances]",
        "for one in card.instances[:1]]",
        "tests/engine/test_gpus.py",
    ),
    Fault(
        "GPUs of another number format in one table",
        "engine/gpus.py",
        "automatic_dtype(gpu.capability) != automatic_dtype(first)",
        "automatic_dtype(first) != automatic_dtype(first)",
        "tests/engine/test_gpus.py",
    ),
    Fault(
        "answers about GPUs outlive a new driver",
        "benchmarks/plan/compute.py",
        '_text(root / "proc/driver/nvidia/version"),',
        '_text(root / "sys/module/amdgpu/version"),',
        "tests/benchmarks/plan/test_compute.py",
    ),
)


def main() -> int:
    """Try all faults or those named; return 1 if the tests miss one."""
    chosen = [fault for fault in FAULTS if not sys.argv[1:] or fault.name in sys.argv[1:]]
    unseen = [fault.name for fault in chosen if not is_seen(fault)]
    print(f"{len(chosen) - len(unseen)} of {len(chosen)} seen")
    return 1 if unseen else 0


def is_seen(fault: Fault) -> bool:
    """Return whether a test fails in a copy with the fault."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, copy / name)
        place = copy / fault.file
        text = place.read_text(encoding="utf-8")
        if text.count(fault.right) != 1:
            raise SystemExit(
                f"error: {fault.file} does not hold {fault.right!r} once; correct this list"
            )
        place.write_text(text.replace(fault.right, fault.wrong), encoding="utf-8")
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-x",
                "-q",
                "-p",
                "no:cacheprovider",
                *fault.tests.split(),
            ],
            cwd=copy,
            capture_output=True,
            text=True,
        )
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    seen = done.returncode == 1 and bool(failed)
    result = failed[0].split(" - ")[0] if seen else f"NOT SEEN (pytest's status {done.returncode})"
    print(f"{fault.name}: {result}", flush=True)
    return seen


if __name__ == "__main__":
    sys.exit(main())
