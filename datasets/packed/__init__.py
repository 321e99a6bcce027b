"""Packed image folders: tar files in the layout of WebDataset, read at the offsets of an index."""
