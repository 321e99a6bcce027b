"""A linear probe and weighted k-NN on the frozen features of a backbone, at ImageNet's test view.

Papers: k-NN as in Wu et al. 2018 (1805.01978) and DINO (2104.14294, §4); the linear probe as in CLIP (2103.00020, A.3).
Command: python -m cls_train.probe imagenet --checkpoint backbone.safetensors --data data/imagenet
    --work-dir runs/probe
Features of ImageNet take 10 GiB of a GPU's memory. Not run in this project, which has no ImageNet.
"""

# Every image is seen once, in evaluation mode, in the classification stage's test view.
image_size = 224
test_resize_ratio = 256 / 224
test_pipeline = dict(resize=dict(type="Resize"), crop=dict(type="CenterCrop"))
batch_size = 128
workers = 8

neighbours = (10, 20, 100)
# Of these the table's.
table_neighbours = 20
temperature = 0.07

# The L2 strength is chosen on this share of the training images, by powers of ten: first from `high` towards `low` in
# steps of `step`, until two have brought nothing, then the neighbours of the best at half the distance, so many times.
held_out = 0.2
strengths = dict(low=-6, high=6, step=2, halvings=3)
iterations = 1000

# A smoke run sees iterations × batch_size of the training images, a short one a quarter of them.
budgets = dict(smoke=dict(iterations=3, batch_size=32, test_images=32))
