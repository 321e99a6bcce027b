"""Reading images so that a damaged file is told and never silently half used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from PIL import Image, ImageOps

from contract.errors import UserError


def read_rgb(path: str | Path) -> Image.Image:
    """Decode an image of any mode as upright RGB.

    Grey, palette and RGBA files, and files whose suffix lies about their format, are converted.

    Raises:
        UserError: The file is missing, is no image, or is truncated.
    """
    try:
        with Image.open(path) as image:
            # A PNG's EXIF block comes after its pixels; only JPEG cameras rotate by tag. Phones
            # append a second picture to the first, which Pillow then calls MPO.
            upright = image
            if image.format in ("JPEG", "MPO"):
                upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):
                # Pillow would clip 16-bit grey at 255, which leaves a white picture.
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            return upright.convert("RGB")
    except FileNotFoundError:
        raise UserError(f"the image {path} does not exist; complete the dataset") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            f"the image {path} cannot be decoded ({error}); replace it, or take it out of the dataset"
        ) from None


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Load `img_path` as `(H, W, 3)` uint8 in BGR order, which mmdet's and mmseg's pipelines expect.

    OpenCV, which the stock transform uses, fills up a truncated JPEG with grey and goes on.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add `img`, `img_shape` and `ori_shape` (height, width in pixels)."""
        image = np.ascontiguousarray(np.asarray(read_rgb(results["img_path"]))[:, :, ::-1])
        results["img"] = image
        results["img_shape"] = image.shape[:2]
        results["ori_shape"] = image.shape[:2]
        return results
