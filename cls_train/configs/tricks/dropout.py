"""Dropout: 20% of the pooled features become 0 in training (Srivastava et al., 2014; the rate of 1602.07261)."""

dropout = 0.2
