"""Extract the pooled last features of every image of a split with a frozen backbone."""

from __future__ import annotations

import time
from typing import Any

import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn
from torch.utils.data import DataLoader

from contract import progress
from contract.errors import UserError
from engine.runner.seeding import SeededDataset
from engine.runner.shared_memory import fit_workers

# Between two progress reports, to the harness and to a person.
MACHINE_SECONDS, PERSON_SECONDS = 1.0, 10.0


class PooledFeatures(nn.Module):
    """A frozen backbone with its normalisation; the last map is averaged over locations, as in the classifier.

    Args:
        backbone: A `TransferBackbone`.
        normalisation: `mean` and `std` on the scale 0 to 255, and `bgr_to_rgb`, as for BGR images.
    """

    def __init__(self, backbone: nn.Module, normalisation: dict[str, Any]) -> None:
        super().__init__()
        self.backbone = backbone
        # Images are RGB here, so the conversion is the opposite of that for BGR images.
        self.preprocessor = ImgDataPreprocessor(
            mean=normalisation["mean"],
            std=normalisation["std"],
            rgb_to_bgr=not normalisation["bgr_to_rgb"],
        )
        self.requires_grad_(False)
        self.eval()

    def to(self, *args: Any, **kwargs: Any) -> PooledFeatures:
        """Move the network, as torch does.

        mmengine's preprocessor copies images to the device of its own `to`, which torch does not call for a part.
        """
        self.preprocessor.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def forward(self, images: Tensor) -> Tensor:
        """Return features (N, C) in float32 of RGB images (N, 3, H, W) on the scale 0 to 255."""
        inputs = self.preprocessor({"inputs": images}, training=False)["inputs"]
        return self.backbone(inputs)[-1].mean(dim=(2, 3))


@torch.no_grad()
def extract(
    network: PooledFeatures, dataset: SeededDataset, split: str, batch_size: int, workers: int
) -> tuple[Tensor, Tensor]:
    """Return features (n, C) and class indices (n,) of a split, in its order, on the network's device.

    Raises:
        UserError: An image cannot be read, or a feature is not a finite number.
    """
    device = next(network.parameters()).device
    loader = DataLoader(dataset, batch_size=batch_size, num_workers=workers)  # type: ignore[arg-type]
    for note in fit_workers([loader]):
        print(f"note: {note}", flush=True)
    features, labels = [], []
    machine = progress.is_asked_for()
    started = reported = time.monotonic()
    for batch in loader:
        features.append(network(batch["inputs"].to(device)))
        labels.append(batch["labels"].to(device))
        now = time.monotonic()
        if now - reported >= (MACHINE_SECONDS if machine else PERSON_SECONDS):
            reported = now
            _report(split, sum(map(len, labels)), len(dataset), now - started, machine)
    found = torch.cat(features)
    if not found.isfinite().all():
        raise UserError(
            f"features of {int((~found.isfinite()).any(dim=1).sum())} of {len(found)} {split} images are not finite "
            "numbers; the training of the weights may have diverged"
        )
    return found, torch.cat(labels)


def _report(split: str, done: int, total: int, seconds: float, machine: bool) -> None:
    """Report progress: a line of JSON for the harness, or a readable line."""
    rate = done / seconds
    if machine:
        report = {
            "stage": "probe",
            "step": done,
            "steps": total,
            "eta_seconds": round((total - done) / rate, 1),
            "images_per_second": round(rate, 1),
        }
        progress.write(report)
    else:
        print(f"features:  {done} of {total} {split} images, {rate:.0f} images/s", flush=True)
