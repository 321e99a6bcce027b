"""Inputs of 299 pixels, as for Inception-V3 (§2.1); tests crop from a short edge of 342, as 224 from 256.

Source: 1812.01187 §2.1
Library: torchvision
Test: tests/engine/test_image_folder.py
"""

image_size = 299
