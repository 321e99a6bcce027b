"""Weights of a pretrained checkpoint under the names of timm, torchvision, mmpretrain and mmdet."""
