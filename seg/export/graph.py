"""A segmentor as one graph: images in, logits and labels of the same size out."""

from __future__ import annotations

from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn
from torch.nn import functional

from engine.export.preprocessing import Normalise


class SegmentorGraph(nn.Module):
    """Images to logits and labels of each pixel.

    Args:
        model: The trained segmentor.
    """

    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        trained = model.data_preprocessor
        # Images are read as BGR.
        order = "RGB" if trained.channel_conversion else "BGR"
        self.normalise = Normalise(trained.mean, trained.std, order)
        self.backbone = model.backbone
        self.head = model.decode_head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`(N, 3, H, W)` RGB, 0 to 255, to logits `(N, K, H, W)` and labels `(N, H, W)`."""
        maps = self.head(self.backbone(self.normalise(images)))
        logits = functional.interpolate(
            maps, images.shape[2:], mode="bilinear", align_corners=self.head.align_corners
        )
        return logits, logits.argmax(dim=1)
