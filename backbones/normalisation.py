"""Normalisations of images: ImageNet's, and those that published weights were trained with."""

from __future__ import annotations

_Three = tuple[float, float, float]
# Mean and standard deviation of each channel for pixels from 0 to 255, in the order of the channels, and that order:
# "RGB" or "BGR".
Normalisation = tuple[_Three, _Three, str]

# The numbers of "Bag of Tricks" (https://arxiv.org/abs/1812.01187, §2.1), for networks trained here; R, G, B.
IMAGENET_MEAN: _Three = (123.68, 116.779, 103.939)
IMAGENET_STD: _Three = (58.393, 57.12, 57.375)

# Public weights by the name of their normalisation. That of torchvision and timm rounds ImageNet's numbers otherwise.
NORMALISATIONS: dict[str, Normalisation] = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "RGB"),
    "inception": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5), "RGB"),
    "caffe": ((103.53, 116.28, 123.675), (1.0, 1.0, 1.0), "BGR"),
}
