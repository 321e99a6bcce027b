"""The same protocol at 64 px, for the embedded mini data.

Command: python -m probe mini --checkpoint runs/mini/cells/standard/cls/seed-0/backbone.safetensors
    --data data/miniworld/mini/cls --work-dir runs/mini-probe
"""

_base_ = "imagenet.py"

image_size = 64
test_resize_ratio = 1.0
workers = 1
