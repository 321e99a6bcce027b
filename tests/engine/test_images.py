"""The transform that decodes images for mmdet and mmseg."""

import numpy as np
from PIL import Image

from engine.images import LoadImage

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def test_transform_gives_bgr(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    results = LoadImage()({"img_path": str(tmp_path / "a.png")})
    np.testing.assert_array_equal(results["img"], PIXELS[..., [2, 1, 0]])
    assert results["img"].flags.c_contiguous
    assert results["img"].dtype == np.uint8
    assert results["img_shape"] == results["ori_shape"] == (6, 8)
