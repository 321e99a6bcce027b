"""A second test at six scales, with and without flip, with averaged probabilities: `miou_ms` in addition to `miou`.

Scales are relative to the single-scale size. The "ms+flip" scores of papers are measured like this.

Source: 1612.01105; mmseg
Library: mmseg `SegTTAModel`, with our summation
Test: tests/seg/test_multi_scale.py
"""

multi_scale = dict(scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True)
