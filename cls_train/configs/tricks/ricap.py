"""RICAP: four images are cropped and joined around a point; labels are weighted by area (Takahashi et al., 1811.09030).

The point is (w, h) of the image with w, h ~ Beta(β, β) and β = 0.3, the paper's value for ImageNet.

Source: 1811.09030
Library: ours
Test: tests/cls_train/test_mixing.py
"""

batch_mixing = dict(ricap=dict(type="RICAP", beta=0.3))
