"""A detector as an ONNX file: an image to boxes, scores and labels."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from mmdet.models.detectors import FasterRCNN
from mmdet.structures import DetDataSample
from torch import Tensor, nn

import det.train  # noqa: F401  (registers the types in configs)
from export.onnx.command import Export, main
from export.onnx.det_graph import DetectorGraph
from export.onnx.file import TOLERANCE, Arrays, Difference, ExportSpec
from export.onnx.run import TrainedRun

# A box may differ by this number of pixels, or by `TOLERANCE` times its longer side if that is more.
_PIXELS = 1e-2


class DetectorExport(Export):
    """The export of a detection run."""

    task = "det"
    scope = "mmdet"

    def spec(self, run: TrainedRun, model: nn.Module) -> ExportSpec:
        """Return the graph of detections after NMS; the image size varies if the backbone allows it."""
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
                "test_cfg": run.config.model.test_cfg.to_dict(),
                **graph.normalise.metadata(),
            },
            output_shapes={
                "boxes": ["detections", 4],
                "scores": ["detections"],
                "labels": ["detections"],
            },
        )


def predict(model: FasterRCNN, images: Tensor) -> Arrays:
    """Return mmdet's detections in `(1, 3, H, W)` RGB, 0 to 255: boxes in pixels, scores, labels."""
    size = tuple(images.shape[2:])
    sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0)))
    data = model.data_preprocessor({"inputs": [images[0].flip(0)], "data_samples": [sample]})
    (found,) = model.predict(data["inputs"], data["data_samples"], rescale=False)
    kept: Any = found.pred_instances
    return kept.bboxes.numpy(), kept.scores.numpy(), kept.labels.numpy()


def compare(expected: Arrays, found: Arrays, score_threshold: float, most: int) -> list[Difference]:
    """Compare each detection with the nearest one of its class.

    A detection without a match is a difference as large as its score. Scores within the tolerance of the cut-off are
    exempt; it is the threshold, or the smallest score if the number of detections is at its limit.

    Args:
        expected: Boxes `(D, 4)`, scores `(D,)`, labels `(D,)`.
        found: The same of the file.
        score_threshold: The minimum score of a detection.
        most: The maximum of D.
    """
    boxes = scores = unmatched = 0.0
    taken = np.zeros(len(found[1]), bool)
    for box, score, label in zip(*expected, strict=True):
        candidates = np.flatnonzero((found[2] == label) & ~taken)
        allowed = max(_PIXELS, TOLERANCE * float((box[2:] - box[:2]).max()))
        offsets = np.abs(found[0][candidates] - box).max(axis=1, initial=0) / allowed
        offsets = np.maximum(offsets, np.abs(found[1][candidates] - score) / TOLERANCE)
        # NaN never matches.
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
    """Return the score, or 0 if rounding may have moved it across the cut-off."""
    cut = float(scores.min()) if len(scores) == most else threshold
    # `max` may ignore a NaN.
    return 0.0 if score <= cut + TOLERANCE else float(np.nan_to_num(score, nan=np.inf))


EXPORT = DetectorExport()

if __name__ == "__main__":
    sys.exit(main(export=EXPORT))
