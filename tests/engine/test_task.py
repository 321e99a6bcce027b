"""A task's exit status and messages, without training."""

import errno
import json
import warnings

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from backbones import CheckpointError
from contract.errors import UserError
from contract.result import read_result
from engine import task as engine_task
from engine.cli import user_error
from engine.task import Task, main

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from cls_train.train import Classification

WORDS = ["mini", "--data", "d", "--work-dir", "w", "--backbone", "resnet10_b-w8"]


class Failing(Task):
    """A task whose assembly raises."""

    name, scope = "det", "mmengine"

    def __init__(self, error):
        self.error = error

    def assemble(self, job):
        raise self.error

    def metrics(self, values):
        return []

    def protocol(self, config):
        return {}


def _wrapped():
    error = RuntimeError("in the loop")
    error.__cause__ = UserError("the picture is torn; replace it")
    return error


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UserError("this; do that"), 2, "error: this; do that\n"),
        (CheckpointError("that file; pass another"), 2, "error: that file; pass another\n"),
        (_wrapped(), 2, "error: the picture is torn; replace it\n"),
        (
            KeyboardInterrupt(),
            130,
            "interrupted; run the same command with --resume to go on\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            2,
            "error: the disk is full ([Errno 28] No space left on device); free some space and run "
            "the same command with --resume, which goes on from the last checkpoint\n",
        ),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded"),
            2,
            "error: the disk is full ([Errno 122] Disk quota exceeded); free some space and run "
            "the same command with --resume, which goes on from the last checkpoint\n",
        ),
    ],
)
def test_user_errors_are_one_sentence(capsys, error, status, said):
    assert main(Failing(error), WORDS) == status
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("error", [ZeroDivisionError("division"), OSError(errno.EIO, "I/O error")])
def test_defect_keeps_traceback(capsys, error):
    assert main(Failing(error), WORDS) == 1
    output = capsys.readouterr().err
    assert output.startswith("Traceback (most recent call last)")
    assert type(error).__name__ in output


def test_command_line_mistake(capsys):
    assert main(Failing(None), ["mini", "--dta", "d", "--data", "d", "--work-dir", "w"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: unknown option '--dta'; did you mean '--data'"
    )


def test_success(monkeypatch):
    seen = []
    monkeypatch.setattr(engine_task, "run", lambda task, options: seen.append(options))
    assert main(Failing(None), WORDS) == 0
    assert seen[0].backbone == "resnet10_b-w8"


def test_backbone_is_required(capsys):
    assert main(Failing(None), WORDS[:-2]) == 2
    assert "no backbone was named; give --backbone SPEC" in capsys.readouterr().err


def test_missing_checkpoint(capsys, tmp_path):
    path = tmp_path / "absent.safetensors"
    assert main(Failing(None), [*WORDS[:-2], "--checkpoint", str(path)]) == 2
    assert "absent.safetensors" in capsys.readouterr().err


def test_worker_error_is_extracted():
    text = (
        "Caught UserError in DataLoader worker process 0.\nOriginal Traceback (most recent call "
        'last):\n  File "x.py", line 3, in f\nbackbones.errors.UserError: the image a.png cannot '
        "be decoded (cut); replace it\n"
    )
    message = user_error(UserError(text))
    assert message == "the image a.png cannot be decoded (cut); replace it"
    assert user_error(ValueError("x")) is None


def _write(root, torn=None):
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for label in range(2):
            folder = root / split / f"c{label}"
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    if torn is not None:
        path = root / torn
        path.write_bytes(path.read_bytes()[:400])
    return root


def _train(root, folder, *more):
    sizes = [("image_size", 32), ("test_resize_ratio", 1.0)]
    words = ["imagenet", "--data", str(root), "--work-dir", str(folder)]
    words += ["--backbone", "resnet10_b-w8", "--precision", "fp32"]
    for key, value in [*sizes, ("batch_size", 4), ("epochs", 1)]:
        words += ["--set", f"{key}={value}"]
    return main(Classification(), [*words, *more])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("torn", ["train/c1/2.png", "val/c0/1.png"])
def test_torn_image_in_loader_worker(tmp_path, capfd, workers, torn):
    root = _write(tmp_path / "data", torn)
    assert _train(root, tmp_path / "w", "--set", f"workers={workers}") == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "mmengine" not in line]
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: the image {root / torn} cannot be decoded (")
    assert errors[0].endswith("; replace it, or take it out of the dataset")
    assert not [line for line in lines if "Traceback" in line]
    assert not (tmp_path / "w" / "result.json").exists()


@pytest.mark.filterwarnings("ignore")
def test_deterministic_algorithms(tmp_path):
    assert Classification.one_shape
    root = _write(tmp_path / "data")
    assert _train(root, tmp_path / "w", "--deterministic", "--budget", "smoke") == 0
    assert torch.are_deterministic_algorithms_enabled()
    used = read_result(tmp_path / "w" / "result.json").numerics
    assert used is not None and used.deterministic and not used.nondeterministic
    job = json.loads((tmp_path / "w" / "job.json").read_text())
    assert job["conditions"] == {
        "number of processes": 1,
        "precision": "float32",
        "device": "cpu",
        "deterministic": True,
        "decoder": "turbo",
    }
    # The next run of a process does not inherit it.
    assert _train(root, tmp_path / "x", "--budget", "smoke") == 0
    assert not torch.are_deterministic_algorithms_enabled()
    used = read_result(tmp_path / "x" / "result.json").numerics
    assert used is not None and not used.deterministic


@pytest.mark.filterwarnings("ignore")
def test_fewer_images_than_a_batch(tmp_path, capfd):
    root = _write(tmp_path / "data")
    assert _train(root, tmp_path / "w", "--set", "batch_size=9") == 2
    assert (
        "error: the training set has 8 images, fewer than one batch of 9 per process; add images "
        "or make the batch smaller\n" in capfd.readouterr().err
    )


@pytest.mark.filterwarnings("ignore")
def test_non_finite_loss_ends_task(tmp_path, capfd):
    root = _write(tmp_path / "data")
    assert _train(root, tmp_path / "w", "--set", "lr=1e30") == 2
    assert "error: the loss became nan in epoch 1, iteration 2 (terms" in capfd.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_full_disk_while_training(tmp_path, capfd, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mmengine.fileio.backends.LocalBackend.put", full)
    root = _write(tmp_path / "data")
    assert _train(root, tmp_path / "w") == 2
    assert "error: the disk is full ([Errno 28]" in capfd.readouterr().err


def test_unwritable_work_dir(tmp_path, capfd):
    root = _write(tmp_path / "data")
    (tmp_path / "w").write_text("a file")
    assert _train(root, tmp_path / "w") == 2
    assert "w cannot be made (File exists); name another with --work-dir" in capfd.readouterr().err


def test_missing_data(tmp_path, capfd):
    assert _train(tmp_path / "absent", tmp_path / "w") == 2
    output = capfd.readouterr().err
    assert output.startswith(f"error: {tmp_path / 'absent' / 'train'} does not exist; ")
    assert not (tmp_path / "w").exists()


@pytest.mark.filterwarnings("ignore")
def test_smoke_run_writes_record(tmp_path, capfd):
    root = _write(tmp_path / "data")
    more = ["--budget", "smoke", "--seed", "5", "--identity", "ab12", "--trick", "cosine"]
    assert _train(root, tmp_path / "w", *more) == 0
    result = json.loads((tmp_path / "w" / "result.json").read_text())
    assert result["stage"] == "cls"
    assert (result["seed"], result["identity"], result["budget"]) == (5, "ab12", "smoke")
    assert result["tricks"] == ["cosine"]
    assert result["checkpoint"] is None
    assert result["precision"] == {"dtype": "float32", "reason": "asked for"}
    data = result["data"]
    # Two iterations of two images; four test images.
    assert (data["classes"], data["train_images_total"], data["train_images_used"]) == (2, 8, 4)
    assert (data["test_images_total"], data["test_images_used"]) == (4, 4)
    curves = json.loads((tmp_path / "w" / "curves.json").read_text())
    assert [point["step"] for point in curves["train"]] == [1, 2]
    assert [set(point) for point in curves["val"]] == [{"step", "epoch", "top1", "top5"}]
    assert result["metrics"][0]["value"] == curves["val"][-1]["top1"]
    assert set(result["artifacts"]) == {"curves", "backbone"}
    assert all((tmp_path / "w" / name).is_file() for name in result["artifacts"].values())


def test_protocol_describes_normalisation():
    step = dict(type="Resize", size=256)
    config = Config(dict(val_dataloader=dict(dataset=dict(dataset=dict(pipeline=[step])))))
    assert Classification().protocol(config)["test"] == "Resize 256; one view"
