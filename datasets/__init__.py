"""Datasets: how each layout is read, checked, fingerprinted, prepared and generated.

The harness and the tasks read every layout through this package, so what is checked is what is trained on. It needs
neither torch nor OpenMMLab.
"""
