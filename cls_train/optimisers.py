"""Register optimisers of other libraries for use in configs.

mmengine registers those of torch.
"""

from mmengine.registry import OPTIMIZERS
from pytorch_optimizer import AdaBound
from timm.optim.lars import Lars

OPTIMIZERS.register_module(module=AdaBound)
OPTIMIZERS.register_module(module=Lars)
