"""Download, check, unpack and arrange real datasets in the layouts that the tasks read.

The order of the steps: `catalogue` (datasets and archives) ► `download` (verified archives) ► `arrange` (target of
each file) ► `extract` (into a hidden folder) ► `workflow` (one rename of the finished folder).
"""
