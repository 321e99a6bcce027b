"""The classification task: train a backbone with a recipe and tricks, and export it."""
