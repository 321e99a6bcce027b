"""Adam in place of Nesterov's gradient, at its authors' rate of 0.001 (Kingma and Ba, 1412.6980).

By torch, where weight decay is added to the gradient, and so is divided by its second moment too.

Source: 1412.6980
Library: torch `Adam`
Test: tests/cls_train/test_optimisers.py
"""

optimizer = dict(_delete_=True, type="Adam", betas=(0.9, 0.999))
lr = 1e-3
