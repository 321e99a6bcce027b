from engine.doctor import findings


def test_it_tells_kernels_device_and_precision():
    found = findings()
    assert found["mmcv_ops_served_by"] in ("torchvision", "compiled mmcv")
    assert found["device"].split(":")[0] in ("cpu", "cuda")
    assert " on " in found["precision_auto"]
