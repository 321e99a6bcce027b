"""Linear scaling of the learning rate: lr = base lr × batch / base batch (§3.1; Goyal et al., 1706.02677).

With the paper's values 0.1 × 1024 / 256 = 0.4.
"""

lr_scaling = "linear"
