"""AdaBound: Adam whose rate per weight is clipped to bounds that close in on SGD's 0.1 (Luo et al., 1902.09843).

By pytorch-optimizer, at the authors' values: rate 0.001, final rate 0.1, γ = 0.001; decay is added to the gradient, as
there. The final rate follows the schedule.

Source: 1902.09843
Library: pytorch-optimizer `AdaBound`
Test: tests/cls_train/test_optimisers.py
"""

optimizer = dict(_delete_=True, type="AdaBound", final_lr=0.1, gamma=1e-3, weight_decouple=False)
lr = 1e-3
