"""Acts as a stage does, in no time: `fake_stage.py JOURNAL BEHAVIOUR` and a stage's own words.

It is run with `python -I -S`, so it uses the standard library only.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def option(words, name):
    return words[words.index(name) + 1] if name in words else None


def note(journal, text):
    with open(journal, "a", encoding="utf-8") as file:
        file.write(text + "\n")


def main():
    journal, behaviour, *words = sys.argv[1:]
    folder = Path(option(words, "--work-dir"))
    stage = folder.parent.name
    name = f"{folder.parent.parent.name}/{stage}/{folder.name}"
    resumed = " resumed" if "--resume" in words else ""
    threads = os.environ["OMP_NUM_THREADS"]
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    note(journal, f"start {name}{resumed} threads={threads} gpu={gpu} pid={os.getpid()}")
    report = {"stage": stage, "step": 1, "steps": 2, "loss": 1.5, "eta_seconds": 3.0}
    print("@progress " + json.dumps(report), flush=True)
    print("some output", flush=True)
    behave(behaviour, journal, name)
    if stage == "cls":
        seed = option(words, "--seed")
        (folder / "backbone.safetensors").write_text(f"weights of seed {seed}", encoding="utf-8")
    elif option(words, "--checkpoint"):
        note(journal, f"read {Path(option(words, '--checkpoint')).read_text(encoding='utf-8')}")
    if "--teacher" in words:
        teacher = Path(option(words, "--teacher"))
        note(journal, f"taught {name} by {teacher.parent.parent.parent.name}")
    result = make_result(stage, words)
    if behaviour.startswith("score="):
        for metric in result["metrics"]:
            metric["value"] = float(behaviour.removeprefix("score="))
    if behaviour != "no-result":
        (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    note(journal, f"end {name}")
    if behaviour == "late-failure":
        sys.exit(7)


def make_result(stage, words):
    metrics = {
        "cls": ["top1", "top5"],
        "probe": ["linear_top1", "knn_top1"],
        "det": ["map"],
        "seg": ["pixacc", "miou"],
    }[stage]
    return {
        "schema_version": 1,
        "status": "completed",
        "stage": stage,
        "identity": option(words, "--identity"),
        "config": "mini",
        "backbone": option(words, "--backbone"),
        "recipe": option(words, "--recipe"),
        "tricks": [],
        "lr_factor": float(option(words, "--lr-factor") or 1),
        "budget": option(words, "--budget"),
        "seed": int(option(words, "--seed")),
        "metrics": [
            {"name": name, "value": 50.0, "unit": "%", "higher_is_better": True} for name in metrics
        ],
        "costs": [],
        "protocol": {"metric": "any"},
        "data": {
            "fingerprint": option(words, "--data-fingerprint"),
            "classes": 2,
            "train_images_total": 4,
            "train_images_used": 4,
            "test_images_total": 2,
            "test_images_used": 2,
            "notes": [],
        },
        "model": {"backbone_parameters": 10, "parameters": 20},
        "checkpoint": None,
        "code": {"git_sha": None, "dirty": None},
        "packages": {"torch": "2"},
        "python": "3.11",
        "device": {"type": "cpu", "name": "cpu", "count": 1},
        "precision": {"dtype": "float32", "reason": "fake"},
        "wall_seconds": 2.0,
        "train_images_per_second": 2.0,
        "train_images_per_cpu_second": 1.5,
        "peak_memory_mib": 512.0,
        "artifacts": {},
    }


def behave(behaviour, journal, name):
    if behaviour == "fail":
        raise RuntimeError("the loss is no number")
    if behaviour == "user-error":
        print("error: the image a.jpg is truncated; remove it", file=sys.stderr)
        sys.exit(2)
    if behaviour == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "slow-learner":
        report = {
            "stage": "cls",
            "epoch": 6,
            "epochs": 120,
            "best": {"top1": 3.0},
            "classes": 1000,
            "test_images": 50_000,
        }
        print("@progress " + json.dumps(report), flush=True)
    if behaviour == "slow":
        time.sleep(0.3)
    if behaviour == "stubborn":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if behaviour == "family":
        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"])
        note(journal, f"child pid={child.pid}")
    if behaviour in ("hang", "stubborn", "family"):
        try:
            # Only now may a test interrupt: before, Python was still coming up.
            note(journal, f"waiting {name}")
            time.sleep(60)
        except KeyboardInterrupt:
            note(journal, f"interrupted {name}")
            sys.exit(130)


if __name__ == "__main__":
    main()
