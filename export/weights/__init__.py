"""Export a pretrained checkpoint's weights with the names of timm, torchvision, mmpretrain and mmdet."""
