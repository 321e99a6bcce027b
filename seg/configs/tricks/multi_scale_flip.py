"""A second test at six scales, mirrored and not, over mean probabilities: `miou_ms` beside `miou`.

Scales are multiples of the single one. The literature's "ms+flip" figures are of this kind.

Source: 1612.01105; mmseg
Library: mmseg `SegTTAModel`, with sums of ours
Test: tests/seg/test_multi_scale.py
"""

multi_scale = dict(scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True)
