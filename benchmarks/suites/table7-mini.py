"""Table 7 on the embedded data: do the refinements transfer to images of scenes?

The embedded scenes of the segmentation set have no image labels, so the images are those of the other mini tables;
the rows are those of Table 7.

Command: bash benchmarks/run_all.sh table7-mini
"""

base = "table2-mini"
title = "Table 7, mini: efficient and best"
description = "The two rows of Table 7 with a small network on generated images of 64 pixels."
rows = [
    dict(name="efficient", backbone="resnet14_d-w16", recipe="efficient"),
    dict(
        name="best",
        backbone="resnet14_d-w16",
        recipe="efficient",
        tricks=["cosine", "label_smoothing", "mixup"],
    ),
]
