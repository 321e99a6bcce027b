"""Image normalisations: ImageNet's, and those of published weights."""

from __future__ import annotations

_Three = tuple[float, float, float]
# Mean and standard deviation of each channel for pixels from 0 to 255, and the channel order: "RGB" or "BGR".
Normalisation = tuple[_Three, _Three, str]

# The values of "Bag of Tricks" (https://arxiv.org/abs/1812.01187, §2.1), for networks trained here; R, G, B.
IMAGENET_MEAN: _Three = (123.68, 116.779, 103.939)
IMAGENET_STD: _Three = (58.393, 57.12, 57.375)
# Principal axes of the colours of ImageNet's pixels, as columns (Krizhevsky et al. 2012, §4.1, with the numbers
# of fb.resnet.torch, MXNet and GluonCV).
IMAGENET_COLOUR_AXES = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)

# Normalisations of public weights by name. torchvision and timm round ImageNet's values differently.
NORMALISATIONS: dict[str, Normalisation] = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "RGB"),
    "inception": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5), "RGB"),
    "caffe": ((103.53, 116.28, 123.675), (1.0, 1.0, 1.0), "BGR"),
}
