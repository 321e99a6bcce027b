"""Four times the batch: 1024 images instead of 256 (§3.1, Table 3)."""

batch_size_factor = 4
