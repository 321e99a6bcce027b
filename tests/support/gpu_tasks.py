"""The tasks at their smallest, for tests of GPUs."""

from support.checkpoints import SPEC, write_checkpoint
from support.dense_world import dense_world

# Of `mini`; overrides of the command line.
SMALL = {
    "det": {
        "image_scale": (64, 64),
        "model.train_cfg.rpn_proposal.max_per_img": 20,
        "model.test_cfg.rpn.max_per_img": 20,
        "model.test_cfg.rcnn.max_per_img": 5,
    },
    "seg": {"image_scale": (64, 64), "crop_size": (32, 32)},
}
# Keys of tricks that decide images, lengths, rates or hooks, all on the CPU.
ON_THE_CPU = {
    "batch_size_factor", "early_stopping", "ema", "epochs_factor", "holdout", "image_size", "lr", "lr_scaling",
    "schedule", "test_pipeline", "train_fraction", "train_pipeline", "warmup",
}  # fmt: skip


def command_of(name, folder, image_folder, tiny_config):
    """Return a task and the words of its command line for a smoke run, without `--work-dir`."""
    if name == "cls":
        from cls_train.train import Classification

        words = [str(tiny_config), "--data", str(image_folder), "--backbone", SPEC]
        return Classification(), [*words, "--budget", "smoke", "--trick", "mixup", "--trick", "ema"]
    world = dense_world(name, folder)
    checkpoint = write_checkpoint(folder / "backbone.safetensors")
    words = ["mini", "--data", str(world.data), "--checkpoint", str(checkpoint), "--trick", "ema"]
    words += [word for key, value in SMALL[name].items() for word in ("--set", f"{key}={value}")]
    if name == "seg":
        words += ["--trick", "multi_scale_flip"]
    return world.task, [*words, "--budget", "smoke"]
