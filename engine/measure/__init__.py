"""Measurements in addition to the scores: costs, and estimates of transferability."""
