"""ImageNet-1k, the baseline of "Bag of Tricks for Image Classification with CNNs" (arXiv 1812.01187), §2.1.

Command: torchrun --nproc_per_node 8 -m cls_train.train imagenet --backbone resnet50_b --recipe standard
    --data data/imagenet --work-dir runs/resnet50_b
Expected: about 76.14 top-1 after 120 epochs (Table 8; a single run, no spread is published). Not run in this
project, which has no ImageNet.
"""

# Length and batch size; the batch is the total over all processes.
epochs = 120
epochs_factor = 1.0
batch_size = 256
batch_size_factor = 1
# Batch statistics are those of so many images, times `batch_size_factor`: of one of the paper's 8 GPUs (Table 3), 32 of
# 256 or 128 of 1,024. None takes all images of a process.
batch_norm_images = 32
# Most images in a forward pass on one device; None keeps `batch_norm_images`, or for a network without batch norm
# chooses from the device's memory (engine/runner/batch.py).
device_batch_size = None

# Side of training and test crops, and the short edge of a test image before the crop relative to it: 256 for 224
# pixels, and in the same ratio 342 for 299.
image_size = 224
test_resize_ratio = 256 / 224

# `lr` belongs to a batch of `batch_size`; lr_scaling='linear' multiplies it by `batch_size_factor`.
lr = 0.1
lr_scaling = "none"
# Used if the trick `warmup` is on.
warmup = False
warmup_epochs = 5
# Milestones are fractions of the epochs.
schedule = dict(type="step", milestones=[30 / 120, 60 / 120, 90 / 120], gamma=0.1)

# Momentum and weight decay are GluonCV's; the paper does not state them.
optimizer = dict(type="SGD", momentum=0.9, nesterov=True)
weight_decay = 1e-4
decay_one_dimensional = True
penalties = dict()
clip_grad = None

initialisation = "xavier_uniform"
zero_gamma = False
dropout = 0.0
loss = dict(type="CrossEntropy")
label_smoothing = dict(epsilon=0.0, off_target="paper")
batch_mixing = dict()
# Settings of knowledge distillation; --teacher names the teacher.
distillation = None

# Slots keep the order in which they are first defined; a trick sets a slot by name and never replaces the list.
train_pipeline = dict(
    crop=dict(type="RandomResizedCrop", scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)),
    flip=dict(type="RandomHorizontalFlip", p=0.5),
    policy=None,
    rotation=None,
    # The paper scales hue by U[0.6, 1.4] as well; hue is an angle, and MXNet's 0.4 means ±0.2 of a turn.
    jitter=dict(type="ColorJitter", brightness=0.4, saturation=0.4, hue=0.2),
    pca=dict(type="PCANoise", std=0.1),
    erasing=None,
    cutout=None,
)
test_pipeline = dict(resize=dict(type="Resize"), crop=dict(type="CenterCrop"))
normalisation = dict(mean=(123.68, 116.779, 103.939), std=(58.393, 57.12, 57.375))

# How training images are decoded and cropped: "turbo" (simplejpeg, and torch's resize) or "pillow".
decoder = "turbo"
# Loader processes; None chooses them for the machine (engine/wiring.py).
workers = None
validate_every_epochs = 5
checkpoint_every_epochs = 1
ema = None
early_stopping = None
budgets = dict()
