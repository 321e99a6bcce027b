"""Definitions that the harness and the tasks share: tasks, result schema, progress lines, settings and errors.

It imports neither torch nor OpenMMLab, so that planning stays fast.
"""
