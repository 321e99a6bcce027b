"""AdaBound: Adam with rates clipped to bounds that converge to SGD's rate of 0.1 (Luo et al., 1902.09843).

pytorch-optimizer's implementation with the authors' values: rate 0.001, final rate 0.1, γ = 0.001. Weight decay is
added to the gradient, as in the paper. The final rate follows the schedule.

Source: 1902.09843
Library: pytorch-optimizer `AdaBound`
Test: tests/cls_train/test_optimisers.py
"""

optimizer = dict(_delete_=True, type="AdaBound", final_lr=0.1, gamma=1e-3, weight_decouple=False)
lr = 1e-3
