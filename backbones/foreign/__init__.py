"""Networks of other libraries, by prefixed spec: `timm:NAME[.tag]`, `torchvision:NAME`, `package.module:Class`."""

from backbones.foreign.build import create, dilated_form, is_foreign

__all__ = ["create", "dilated_form", "is_foreign"]
