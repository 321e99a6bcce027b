"""A linear probe and weighted k-NN on the frozen features of a backbone, at ImageNet's test view.

Papers: k-NN as in Wu et al. 2018 (1805.01978) and DINO (2104.14294, §4); the linear probe as in CLIP (2103.00020, A.3).
Command: python -m probe imagenet --checkpoint backbone.safetensors --data data/imagenet
    --work-dir runs/probe
The features of ImageNet take 10 GiB of GPU memory. Not run in this project, which has no ImageNet.
"""

# Every image is used once, in evaluation mode, with the classification task's test pipeline.
image_size = 224
test_resize_ratio = 256 / 224
test_pipeline = dict(resize=dict(type="Resize"), crop=dict(type="CenterCrop"))
batch_size = 128
workers = 8

neighbours = (10, 20, 100)
# The value of k that the table shows.
table_neighbours = 20
temperature = 0.07

# The L2 strength is a power of ten, chosen on this fraction of the training images: first from `high` towards `low` in
# steps of `step`, until two bring no improvement; then `halvings` times the best one's neighbours at half the distance.
held_out = 0.2
strengths = dict(low=-6, high=6, step=2, halvings=3)
iterations = 1000

# A smoke run uses iterations × batch_size of the training images, a short run a quarter of them.
budgets = dict(smoke=dict(iterations=3, batch_size=32, test_images=32))
