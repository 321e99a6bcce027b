"""Downloading, checking, unpacking and arranging real datasets in the layouts that the tasks read.

One direction: `catalogue` (what there is) ► `download` (verified archives) ► `arrange` (where each
file belongs) ► `extract` (into a hidden folder) ► `workflow` (one rename, and the set is there).
"""
