"""The embedded suite with a linear probe and k-NN on the frozen features of each backbone.

Command: bash benchmarks/run_all.sh probe-mini The probe alone: bash benchmarks/run_all.sh probe-mini --stages cls
    probe On your own photographs, with folders {train,val}/<class>/:
    bash benchmarks/run_all.sh probe-mini --stages cls probe --cls-data DIR
"""

base = "mini"
title = "Probed features, mini"
description = (
    "What the frozen features classify, beside what they bring to detection and segmentation, and "
    "what LogME promised."
)
tasks = dict(probe=dict(config="probe/configs/mini.py", data="cls"))
columns = ["top1", "linear_top1", "knn_top1", "map", "miou", "det_logme", "seg_logme"]
