"""Knowledge distillation: ℓ(p, softmax(z)) + T² ℓ(softmax(r / T), softmax(z / T)), T = 20 (§5.3; 1503.02531).

The two terms have equal weights, as in the paper; `distillation_gluoncv` has the weights of GluonCV's code. The
teacher computes its logits r on the same augmented batch as the student. Name it with `--teacher`.

Source: 1812.01187 §5.3; 1503.02531
Library: ours
Test: tests/cls_train/test_distillation.py
"""

distillation = dict(temperature=20.0, label_weight=1.0, teacher_weight=1.0)
