"""Dropout: 20% of the pooled features become 0 in training (Srivastava et al., 2014; the rate of 1602.07261).

Source: Srivastava et al., 2014
Library: torch `Dropout`
Test: tests/cls_train/test_classifier.py
"""

dropout = 0.2
