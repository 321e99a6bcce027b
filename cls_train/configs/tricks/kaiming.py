"""Kaiming initialisation of convolutions, N(0, 2 / d_out), instead of Xavier's, as in torchvision's ResNet.

Source: 1502.01852
Library: torch `normal_`, with our fan computation
Test: tests/backbones/test_initialisation.py
"""

initialisation = "kaiming_normal"
