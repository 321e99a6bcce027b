"""Knowledge distillation with GluonCV's weights: ½ ℓ(p, softmax(z)) + ½ T² ℓ(softmax(r / T), softmax(z / T)), T = 20.

GluonCV's training script has `hard_weight` 0.5; the paper's formula (§5.3) has no weights, see `distillation`.

Source: GluonCV
Library: ours
Test: tests/cls_train/test_distillation.py
"""

distillation = dict(temperature=20.0, label_weight=0.5, teacher_weight=0.5)
