"""Kaiming's initialisation, N(0, 2 / d_out), in place of Xavier's (He et al., 1502.01852; torchvision's ResNet)."""

initialisation = "kaiming_normal"
