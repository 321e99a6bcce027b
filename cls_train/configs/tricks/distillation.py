"""Knowledge distillation: ℓ(p, softmax(z)) + T² ℓ(softmax(r / T), softmax(z / T)), T = 20 (§5.3; 1503.02531).

The two terms weigh 1:1, as in the paper; `distillation_gluoncv` weighs them as its code does. The teacher's logits r
are of the very batch that the student sees, mixed and erased. Name it with `--teacher`.

Source: 1812.01187 §5.3; 1503.02531
Library: ours
Test: tests/cls_train/test_distillation.py
"""

distillation = dict(temperature=20.0, label_weight=1.0, teacher_weight=1.0)
