"""Layer-wise decay of the learning rate: each stage of the backbone has 0.7 times the rate of the next stage.

lr of stage k of n, the stem being 0: lr · 0.7^(n + 1 − k). Early features are general and should change little.

Source: BEiT, 2106.08254; ConvNeXt, 2201.03545; mmdet `LearningRateDecayOptimizerConstructor`, stage_wise
Library: ours
Test: tests/engine/dense/test_layer_decay.py
"""

layer_decay = 0.7
