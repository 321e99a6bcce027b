"""Adam instead of SGD with Nesterov momentum, with the authors' rate of 0.001 (Kingma and Ba, 1412.6980).

torch's implementation, in which weight decay is added to the gradient and therefore also normalised.

Source: 1412.6980
Library: torch `Adam`
Test: tests/cls_train/test_optimisers.py
"""

optimizer = dict(_delete_=True, type="Adam", betas=(0.9, 0.999))
lr = 1e-3
