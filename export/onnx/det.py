"""`python -m det.export WORK_DIR --out FILE`: an image to boxes, scores and labels."""

from __future__ import annotations

import sys

import numpy as np
from mmdet.models.detectors import FasterRCNN
from mmdet.structures import DetDataSample
from torch import Tensor, nn

import det.train  # noqa: F401  (registers what a config names)
from export.onnx.command import Export, main
from export.onnx.det_graph import DetectorGraph
from export.onnx.file import TOLERANCE, Arrays, Difference, ExportSpec
from export.onnx.run import TrainedRun

# Of the longer side of a box, or this many pixels where that is more.
_PIXELS = 1e-2


class DetectorExport(Export):
    """The detector of a detection cell."""

    stage = "det"
    package = "det"
    scope = "mmdet"

    def network(self, finished: TrainedRun, model: nn.Module) -> ExportSpec:
        """Detections after NMS, for one image of any size where the backbone takes it."""
        assert isinstance(model, FasterRCNN)
        graph = DetectorGraph(model)
        test = model.roi_head.test_cfg

        def reference(images: Tensor) -> Arrays:
            return predict(model, images)

        def differences(expected: Arrays, found: Arrays) -> list[Difference]:
            return compare(expected, found, test.score_thr, test.max_per_img)

        return ExportSpec(
            graph,
            ("boxes", "scores", "labels"),
            reference,
            differences,
            dynamic=(("height", "width"), ()),
            metadata={
                "outputs": {
                    "boxes": "D×4, x1, y1, x2, y2 in pixels of the input, best first",
                    "scores": "D",
                    "labels": "D, index into classes",
                },
                "test_cfg": finished.config.model.test_cfg.to_dict(),
                **graph.normalise.metadata(),
            },
            output_shapes={
                "boxes": ["detections", 4],
                "scores": ["detections"],
                "labels": ["detections"],
            },
        )


def predict(model: FasterRCNN, images: Tensor) -> Arrays:
    """What mmdet itself detects in `(1, 3, H, W)` RGB, 0 to 255: boxes in its pixels, scores, labels."""
    size = tuple(images.shape[2:])
    sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0)))
    data = model.data_preprocessor({"inputs": [images[0].flip(0)], "data_samples": [sample]})
    (found,) = model.predict(data["inputs"], data["data_samples"], rescale=False)
    kept = found.pred_instances
    return kept.bboxes.numpy(), kept.scores.numpy(), kept.labels.numpy()


def compare(expected: Arrays, found: Arrays, score_threshold: float, most: int) -> list[Difference]:
    """Each detection against the nearest of its class.

    One without a counterpart is a difference as large as its score, but for scores within the tolerance of the one
    that cuts: the threshold, or, where there are as many detections as may be, the least.

    Args:
        expected: Boxes `(D, 4)`, scores `(D,)`, labels `(D,)`.
        found: The same of the file.
        score_threshold: The least score of a detection.
        most: The largest D.
    """
    boxes = scores = unmatched = 0.0
    taken = np.zeros(len(found[1]), bool)
    for box, score, label in zip(*expected, strict=True):
        candidates = np.flatnonzero((found[2] == label) & ~taken)
        allowed = max(_PIXELS, TOLERANCE * float((box[2:] - box[:2]).max()))
        offsets = np.abs(found[0][candidates] - box).max(axis=1, initial=0) / allowed
        offsets = np.maximum(offsets, np.abs(found[1][candidates] - score) / TOLERANCE)
        # What is not a number is no counterpart.
        offsets = np.nan_to_num(offsets, nan=np.inf)
        if not len(candidates) or offsets.min() > 1 / TOLERANCE:
            unmatched = max(unmatched, _beyond_cut(score, expected[1], score_threshold, most))
            continue
        nearest = candidates[offsets.argmin()]
        taken[nearest] = True
        boxes = max(boxes, float(np.abs(found[0][nearest] - box).max()) / allowed)
        scores = max(scores, float(abs(found[1][nearest] - score)))
    for score in found[1][~taken]:
        unmatched = max(unmatched, _beyond_cut(score, expected[1], score_threshold, most))
    return [
        Difference("boxes, of their longer side or of 10 px", boxes * TOLERANCE),
        Difference("scores", scores),
        Difference("scores of detections that only one of them has", unmatched),
    ]


def _beyond_cut(score: float, scores: np.ndarray, threshold: float, most: int) -> float:
    """The score, or 0 where rounding may have put it on the other side of the cut."""
    cut = float(scores.min()) if len(scores) == most else threshold
    # Of a maximum with what is not a number, nothing would be left to see.
    return 0.0 if score <= cut + TOLERANCE else float(np.nan_to_num(score, nan=np.inf))


if __name__ == "__main__":
    sys.exit(main(DetectorExport()))
