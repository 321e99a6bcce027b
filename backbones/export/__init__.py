"""A hand-off's weights under the names of other programs: timm, torchvision, mmpretrain, mmdet."""

from backbones.export.counterparts import LIBRARIES
from backbones.export.weights import ExportReport, export_weights

__all__ = ["LIBRARIES", "ExportReport", "export_weights"]
