"""Inputs of 299 pixels, Inception-V3's (§2.1); tests crop them from a short edge of 342, the ratio of 224 to 256.

Source: 1812.01187 §2.1
Library: torchvision
Test: tests/engine/test_image_folder.py
"""

image_size = 299
