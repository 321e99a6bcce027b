"""Downloads, checks, unpacks and arranges the real data sets in the layouts that the stages read.

One direction: `catalogue` (what there is) ► `download` (verified archives) ► `arrange` (where each
file belongs) ► `extract` (into a hidden folder) ► `workflow` (one rename, and the set is there).
"""
