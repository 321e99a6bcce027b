"""A second test at six scales, mirrored and not, over mean probabilities: `miou_ms` beside `miou`.

Scales are multiples of the single one. The literature's "ms+flip" figures are of this kind.

Source: 1606.00915 §4.2; 1612.01105 §4.2
Library: mmseg `SegTTAModel`, with sums of ours
Test: tests/seg/test_seg_protocols.py
"""

multi_scale = dict(scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True)
