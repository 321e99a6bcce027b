"""Few images: 10% of the training set, stratified by class and drawn with the run's seed.

The number of steps, and with it the schedule, is the same as with all images.

Source: subsets by iterative stratification, Sechidis et al., ECML PKDD 2011
Library: ours
Test: tests/engine/dense/test_tricks.py
"""

train_fraction = 0.1
