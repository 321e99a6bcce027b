"""Networks of other libraries, by a prefixed spec: `timm:NAME[.tag]`, `torchvision:NAME`, `package.module:Class`."""

from backbones.foreign.build import create, is_foreign

__all__ = ["create", "is_foreign"]
