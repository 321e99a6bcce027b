"""CutMix: a box of image j is pasted into image i; the labels are weighted by area (Yun et al., 1905.04899).

The box has 1 − λ of the area before it is clipped at the border, λ ~ Beta(1, 1). torchvision weighs the labels by the
area that is actually pasted, and draws one box for the whole batch.

Source: 1905.04899
Library: torchvision `CutMix`
Test: tests/cls_train/test_mixing.py
"""

batch_mixing = dict(cutmix=dict(type="CutMix", alpha=1.0))
