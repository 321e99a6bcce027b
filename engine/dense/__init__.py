"""Code that dense tasks such as detection and segmentation share: assembly, transfer, tricks, pictures."""
