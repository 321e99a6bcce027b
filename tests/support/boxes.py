"""Detections and ground truths, row by row."""

import numpy as np

from det.average_precision import Detections, Truths


def detections(*rows):
    """Rows of image, label, score, box."""
    table = np.array(
        [(image, label, score, *box) for image, label, score, box in rows], dtype=float
    ).reshape(-1, 7)
    return Detections(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 3:], table[:, 2])


def truths(*rows):
    """Rows of image, label, difficult, box."""
    table = np.array(
        [(image, label, odd, *box) for image, label, odd, box in rows], dtype=float
    ).reshape(-1, 7)
    columns = table[:, 0].astype(int), table[:, 1].astype(int), table[:, 3:]
    return Truths(*columns, table[:, 2].astype(bool))
