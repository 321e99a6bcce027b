"""A trained detector as an ONNX file, against mmdet's own predictions."""

import json

import numpy as np
import onnx
import pytest
import torch

from contract.errors import UserError
from export.onnx.command import main as export
from export.onnx.det import DetectorExport, compare, predict
from export.onnx.det_graph import DetectorGraph
from export.onnx.file import session, write
from export.onnx.run import TrainedRun

# The last one gives no proposal where those must be larger than 50 pixels.
SIZES = ((128, 160), (129, 150), (97, 97), (40, 40))


@pytest.fixture
def lively(assemble_det):
    """Build a detector of random weights whose scores and boxes vary over the image."""

    def build(*tricks, **options):
        torch.manual_seed(5)
        config, model = assemble_det(*tricks, **options)
        heads = (model.rpn_head, model.roi_head.bbox_head)
        with torch.no_grad():
            for parameter in (p for head in heads for p in head.parameters() if p.ndim > 1):
                parameter.normal_(std=1.5 / parameter[0].numel() ** 0.5)
        model.rpn_head.test_cfg.min_bbox_size = 50
        config.model.test_cfg.rpn.min_bbox_size = 50
        return config, model.eval()

    return build


def pictures():
    generator = torch.Generator().manual_seed(6)
    for height, width in SIZES:
        coarse = torch.rand(1, 3, height // 8, width // 8, generator=generator) * 255
        yield torch.nn.functional.interpolate(coarse, (height, width)).to(torch.uint8)


def assert_same(found, expected):
    for ours, theirs, tolerance in zip(found, expected, (1e-2, 1e-4, 0), strict=True):
        np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "tricks, options",
    [
        ((), {}),
        ((), {"model.roi_head.bbox_head.reg_class_agnostic": True}),
        (("iou_aware", "objectness"), {}),
        (("focal_rpn", "focal_head"), {}),
        ((), {"config": "mini_c4"}),
    ],
)
def test_graph_matches_mmdet(lively, tricks, options):
    _, model = lively(*tricks, **options)
    graph, counts = DetectorGraph(model), []
    for images in pictures():
        with torch.no_grad():
            expected = predict(model, images)
            assert_same([tensor.numpy() for tensor in graph(images)], expected)
        counts.append(len(expected[1]))
    assert min(counts[:3]) >= 3 and counts[3] == 0, counts
    model.roi_head.test_cfg.score_thr = 0.9999
    with torch.no_grad():
        assert [len(part) for part in graph(next(iter(pictures())))] == [0, 0, 0]


def test_command_matches_mmdet(lively, tmp_path, capsys):
    # A complete pyramid would only take longer.
    options = {"model.backbone.out_indices": (2, 3), "model.neck.num_outs": 3}
    config, model = lively(**options)
    batch = list(pictures())
    with torch.no_grad():
        best = [predict(model, images)[1].max() for images in batch[:2]]
    # Between the two, so that one of them has no detection.
    assert abs(best[0] - best[1]) > 1e-3
    threshold = float(sum(best) / 2)
    config.model.test_cfg.rcnn.score_thr = model.roi_head.test_cfg.score_thr = threshold
    work = tmp_path / "det"
    work.mkdir()
    meta = {"iter": 4, "cfg": config.pretty_text, "dataset_meta": {"classes": ("cat", "dog")}}
    torch.save({"meta": meta, "state_dict": model.state_dict()}, work / "epoch_1.pth")
    (work / "curves.json").write_text(json.dumps({"val": [{"step": 4}]}))
    keys = ("backbone", "recipe", "tricks", "budget", "seed", "identity")
    result = {"stage": "det", "metrics": [], "code": {"git_sha": None}, **dict.fromkeys(keys, "")}
    (work / "result.json").write_text(json.dumps(result))

    out = tmp_path / "model.onnx"
    assert export([str(work), "--out", str(out)], DetectorExport()) == 0
    assert "varies: height, width" in capsys.readouterr().out
    run, counts = session(out), []
    for images in batch:
        with torch.no_grad():
            expected = predict(model, images)
        assert_same(run(images.numpy()), expected)
        counts.append(len(expected[1]))
    assert sorted(counts[:2])[0] == 0 < sorted(counts[:2])[1] and counts[3] == 0
    model = onnx.load(out)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(entries["classes"]) == ["cat", "dog"]
    assert json.loads(entries["test_cfg"])["rcnn"]["score_thr"] == threshold
    boxes = model.graph.output[0].type.tensor_type.shape.dim
    assert [axis.dim_param or axis.dim_value for axis in boxes] == ["detections", 4]


def test_c4_detector(lively, tmp_path):
    # As many samples per bin as it has pixels, as the published configs have it.
    samples = {"model.roi_head.bbox_roi_extractor.roi_layer.sampling_ratio": 0}
    config, model = lively(config="mini_c4", spec="resnet10-w8", **samples)
    run = TrainedRun(tmp_path, {}, config, ("cat", "dog"), {}, tmp_path, "")
    batch = list(pictures())
    path = tmp_path / "model.onnx"
    written = write(DetectorExport().spec(run, model), batch[:2], path)
    assert written.dynamic == ("height", "width")
    for images in batch:
        with torch.no_grad():
            assert_same(session(path)(images.numpy()), predict(model, images))


@pytest.mark.parametrize(
    "change, part",
    [
        ({"model.test_cfg.rcnn.nms": dict(type="soft_nms")}, "test_cfg.rcnn.nms={'type': 'soft"),
        ({"model.test_cfg.rpn.nms": dict(iou_threshold=0.7, max_num=3)}, "rpn.nms=.*'max_num': 3"),
        ({"model.rpn_head.bbox_coder.add_ctr_clamp": True}, "box coder DeltaXYWHBBoxCoder"),
    ],
)
def test_unsupported_parts_are_refused(assemble_det, change, part):
    _, model = assemble_det()
    for key, value in change.items():
        if key.startswith("model.test_cfg"):
            head = model.rpn_head if ".rpn." in key else model.roi_head
            head.test_cfg.nms = value
        else:
            model.rpn_head.bbox_coder.add_ctr_clamp = value
    with pytest.raises(UserError, match=f"cannot be exported: the graph has no .*{part}"):
        DetectorGraph(model)


def detections(*rows):
    boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return np.array(boxes).reshape(-1, 4), np.array(scores), np.array(labels)


BOX, FAR = (10.0, 10.0, 30.0, 50.0), (60.0, 60.0, 90.0, 90.0)


@pytest.mark.parametrize(
    "found, agrees",
    [
        (detections((FAR, 0.4, 0), (BOX, 0.9, 1)), True),  # another order
        (detections((BOX, 0.9, 1), ((60.0, 60.0, 90.02, 90.0), 0.4, 0)), True),  # 1e-3 of 30 px
        (detections((BOX, 0.9, 1), ((60.0, 60.0, 90.04, 90.0), 0.4, 0)), False),
        (detections((BOX, 0.8985, 1), (FAR, 0.4, 0)), False),
        (detections((BOX, 0.9, 0), (FAR, 0.4, 0)), False),  # another class
        (detections(((float("nan"),) * 4, 0.9, 1), (FAR, 0.4, 0)), False),
        (detections((BOX, 0.9, 1), (FAR, 0.4, 0), (BOX, float("nan"), 0)), False),
        (detections((BOX, 0.9, 1)), False),  # one too few
        (detections((BOX, 0.9, 1), (FAR, 0.4, 0), (BOX, 0.3, 0)), False),  # one too many
        (detections((BOX, 0.9, 1), (FAR, 0.4, 0), (BOX, 0.0505, 0)), True),  # at the threshold
    ],
)
def test_detections_are_compared_in_order(found, agrees):
    expected = detections((BOX, 0.9, 1), (FAR, 0.4, 0))
    differences = compare(expected, found, score_threshold=0.05, most=100)
    assert all(difference.agrees for difference in differences) == agrees


def test_cut_off_detections_may_differ():
    expected = detections((BOX, 0.9, 1), (FAR, 0.4, 0))
    found = detections((BOX, 0.9, 1), ((0.0, 0.0, 9.0, 9.0), 0.4002, 1))
    assert all(d.agrees for d in compare(expected, found, score_threshold=0.05, most=2))
    assert not all(d.agrees for d in compare(expected, found, score_threshold=0.05, most=3))
