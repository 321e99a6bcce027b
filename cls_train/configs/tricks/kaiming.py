"""Kaiming's initialisation of convolutions, N(0, 2 / d_out), in place of Xavier's, as in torchvision's ResNet.

Source: 1502.01852
Library: torch `normal_`, fans counted by us
Test: tests/backbones/test_initialisation.py
"""

initialisation = "kaiming_normal"
