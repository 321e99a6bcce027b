"""Datasets: read, check, fingerprint, prepare and generate every layout.

The harness and the tasks read datasets through this package, so the check sees exactly the images that are trained
on. It imports neither torch nor OpenMMLab.
"""
