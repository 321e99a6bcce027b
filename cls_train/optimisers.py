"""Optimisers of other libraries, under the names that configs use.

mmengine knows those of torch by itself.
"""

from mmengine.registry import OPTIMIZERS
from pytorch_optimizer import AdaBound
from timm.optim.lars import Lars

OPTIMIZERS.register_module(module=AdaBound)
OPTIMIZERS.register_module(module=Lars)
