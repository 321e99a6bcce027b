"""The floor that the harness and the tasks share: what both sides of the process border must agree on.

It imports neither torch nor OpenMMLab, so that planning stays fast.
"""
