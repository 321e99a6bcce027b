"""Inputs of 299 pixels, Inception-V3's (§2.1, Table 2); tests crop them from a short edge of 342, the ratio of 224 to 256."""

image_size = 299
