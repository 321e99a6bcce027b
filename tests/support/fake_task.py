"""Stands in for a task: `fake_task.py JOURNAL BEHAVIOUR NAME RESULTS` and the task's own options.

It is run with `python -I -S`, so it uses the standard library only. RESULTS is a file of one result per task, written
through `contract.result`; so the result is bound to the schema.
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
    journal, behaviour, name, results, *words = sys.argv[1:]
    folder = Path(option(words, "--work-dir"))
    row, task, _ = name.split("/")
    resumed = " resumed" if "--resume" in words else ""
    threads = os.environ["OMP_NUM_THREADS"]
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    note(journal, f"start {name}{resumed} threads={threads} gpu={gpu} pid={os.getpid()}")
    note(journal, f"path {os.environ['PYTHONPATH']}")
    report = {"stage": task, "step": 1, "steps": 2, "loss": 1.5, "eta_seconds": 3.0}
    print("@progress " + json.dumps(report), flush=True)
    print("some output", flush=True)
    if behaviour.startswith("memory="):
        run_out_of_memory(words, *behaviour.removeprefix("memory=").split(","))
    behave(behaviour, journal, name)
    if task == "cls":
        seed = option(words, "--seed")
        (folder / "backbone.safetensors").write_text(f"weights of seed {seed}", encoding="utf-8")
        (folder / "row.txt").write_text(row, encoding="utf-8")
        for file in ("epoch_1.pth", "epoch_2.pth", "last_checkpoint"):
            (folder / file).write_text("large", encoding="utf-8")
            time.sleep(0.002)
    elif option(words, "--checkpoint"):
        note(journal, f"read {Path(option(words, '--checkpoint')).read_text(encoding='utf-8')}")
    if "--teacher" in words:
        teacher = Path(option(words, "--teacher")).with_name("row.txt")
        note(journal, f"distilled {name} by {teacher.read_text(encoding='utf-8')}")
    result = json.loads(Path(results).read_text(encoding="utf-8"))[task]
    fill(result, words)
    if behaviour.startswith("score="):
        for metric in result["metrics"]:
            metric["value"] = float(behaviour.removeprefix("score="))
    if behaviour != "no-result":
        (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    note(journal, f"end {name}")
    if behaviour == "late-failure":
        sys.exit(7)


def fill(result, words):
    """Write into a result what the command line says."""
    result["identity"] = option(words, "--identity")
    result["backbone"] = option(words, "--backbone")
    result["recipe"] = option(words, "--recipe")
    result["lr_factor"] = float(option(words, "--lr-factor") or 1)
    result["budget"] = option(words, "--budget")
    result["seed"] = int(option(words, "--seed"))
    result["data"]["fingerprint"] = option(words, "--data-fingerprint")


def run_out_of_memory(words, fits, changes):
    """Fail like a task whose passes of 8 images do not fit, unless the command sets at most `fits`."""
    settings = dict(word.split("=", 1) for word in words if word.startswith("device_batch_size="))
    images = int(settings.get("device_batch_size", 8))
    if images > int(fits):
        report = {"device_batch_size": images // 2, "changes_numbers": changes == "changes"}
        print("@progress " + json.dumps(report), flush=True)
        print(f"error: out of device memory in a pass of {images} images", file=sys.stderr)
        sys.exit(2)


def save(number, frame):
    raise KeyboardInterrupt


def behave(behaviour, journal, name):
    if behaviour in ("hang", "family"):
        signal.signal(signal.SIGTERM, save)
    if behaviour == "torchrun":
        # Its processes were asked to stop; its own status says nothing.
        print('@progress {"stopped": true}', flush=True)
        sys.exit(1)
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
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if behaviour == "family":
        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"])
        note(journal, f"child pid={child.pid}")
    if behaviour in ("hang", "stubborn", "family"):
        try:
            # Only now may a test interrupt: before, Python was still coming up.
            note(journal, f"waiting {name}")
            time.sleep(60)
        except KeyboardInterrupt:
            note(journal, f"saved {name}")
            sys.exit(75)


if __name__ == "__main__":
    main()
