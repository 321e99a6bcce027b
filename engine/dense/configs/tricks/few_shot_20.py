"""Few images: 20% of the training set, stratified by class and drawn with the run's seed.

As many steps as with all images, so that the schedule stays what it was.

Source: subsets by iterative stratification, Sechidis et al., ECML PKDD 2011
Library: ours
Test: tests/engine/dense/test_tricks.py
"""

train_fraction = 0.2
