"""Estimates of transferability from a backbone's features, without training: LogME, H-score and LEEP.

All three take features (n, d) of n labelled samples, or a source classifier's probabilities, and return one number;
larger means that the features suit the labels better. The report compares them with the measured transfer; no
decision depends on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contract.errors import UserError

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]

# With fewer samples, a score says nothing about the dataset.
LEAST_SAMPLES = 20
# The evidence has converged if it grows by less than this, in nats per sample.
TOLERANCE = 1e-10
MOST_STEPS = 2000


@dataclass(frozen=True)
class Score:
    """One transferability score.

    Attributes:
        name: `'logme'`, `'hscore'` or `'leep'`.
        value: LogME and LEEP in nats per sample; the H-score has no unit.
        samples: n.
    """

    name: str
    value: float
    samples: int


def measure(
    features: Tensor, labels: Tensor, head: nn.Linear | None
) -> tuple[list[Score], list[str]]:
    """Compute all scores that the samples allow.

    Args:
        features: (n, d).
        labels: Class indices (n,).
        head: The source classifier's linear layer on these features; None leaves out LEEP.

    Returns:
        The scores, and notes on why others are missing.
    """
    count = len(labels)
    if count < LEAST_SAMPLES:
        return [], [
            f"transferability was not measured: {count} labelled samples are fewer than {LEAST_SAMPLES}"
        ]
    taken = features.double().cpu().numpy()
    targets = labels.long().cpu().numpy()
    measures: dict[str, Callable[[], float]] = {
        "logme": lambda: logme(taken, targets),
        "hscore": lambda: h_score(taken, targets),
    }
    if head is not None:
        measures["leep"] = lambda: leep(_probabilities(features, head), targets)
    scores, notes = [], []
    for name, score in measures.items():
        try:
            scores.append(Score(name, score(), count))
        except UserError as error:
            notes.append(f"{name} was not measured: {error}")
    return scores, notes


def _probabilities(features: Tensor, head: nn.Linear) -> Matrix:
    with torch.no_grad():
        return head.to(features.device)(features).double().softmax(dim=1).cpu().numpy()


def logme(features: Matrix, labels: Labels) -> float:
    """LogME: the mean over classes of the log evidence per sample of a linear model of the class's indicator.

    Source: You et al. 2021 (2102.11005), §4 and algorithm 1. The indicator y of a class is modelled as F w + noise
        with w ~ N(0, I / α) and noise ~ N(0, I / β), without an intercept. The paper's fixed-point steps find the
        maximum of log N(y | 0, F Fᵀ / α + I / β) over α and β; here they run until the evidence has converged.
        Rotating or scaling the features does not change the value.

    Args:
        features: F, (n, d).
        labels: Class indices (n,).

    Returns:
        Nats per sample, mean over the classes that occur.

    Raises:
        UserError: There is only one class, the features are constant or not finite, or a class's indicator is an
            exact linear function of the features, in which case the evidence has no maximum.
    """
    _require_samples(features, labels)
    coordinates, squares = _principal_axes(features)
    evidences = []
    for label in np.unique(labels):
        target = (labels == label).astype(np.float64)
        explained = (coordinates.T @ target) ** 2 / squares
        evidences.append(_largest_evidence(squares, explained, target) / len(labels))
    return float(np.mean(evidences))


def _largest_evidence(squares: Matrix, explained: Matrix, target: Matrix) -> float:
    """Return the maximum of the log evidence, by the fixed-point steps.

    Args:
        squares: Squared singular values σ² of F, (r,), all above 0.
        explained: (uᵀ y)² for each left singular vector u, (r,).
        target: y, (n,).
    """
    count, total = len(target), float(target @ target)
    outside = total - float(explained.sum())
    if len(squares) < count and outside <= 1e-10 * total:
        raise UserError(
            "a class is an exact linear function of the features; the evidence grows without bound"
        )
    outside = max(outside, 0.0)
    # t = α / β; the prior starts as strong as the data are on average, which makes the steps independent of scale.
    ratio, evidence = float(squares.mean()), -np.inf
    for _ in range(MOST_STEPS):
        shrunk = squares + ratio
        effective = float((squares / shrunk).sum())
        weights = float((squares * explained / shrunk**2).sum())
        residual = float((explained * (ratio / shrunk) ** 2).sum()) + outside
        beta = (count - effective) / residual
        # If the features explain nothing, the best w is 0 and α has no bound.
        ratio = effective / (weights * beta) if weights > 0 else np.inf
        before, evidence = evidence, _evidence(squares, explained, outside, ratio, count)
        if abs(evidence - before) < TOLERANCE * count or ratio == np.inf:
            break
    return evidence


def _evidence(
    squares: Matrix, explained: Matrix, outside: float, ratio: float, count: int
) -> float:
    """Return log N(y | 0, F Fᵀ / α + I / β) in the basis of F's singular vectors, at α = ratio · β and the best β."""
    spread = 1 + squares / ratio
    noise = (float((explained / spread).sum()) + outside) / count
    return -0.5 * (count * (np.log(2 * np.pi * noise) + 1) + float(np.log(spread).sum()))


def h_score(features: Matrix, labels: Labels) -> float:
    """Return the H-score with a shrunk covariance: how much of the features' variance lies between classes.

    Source: Bao et al. 2019 (ICIP), tr(Σ⁻¹ Σ_z) with Σ the covariance of the features and Σ_z that of their class
        means, in the regularised form of Ibrahim et al. 2021 (2110.06893): tr(Σ_λ⁻¹ (1 − λ) Σ_z), where Σ_λ is (1 −
        λ) Σ + λ (tr Σ / d) I with the λ of Ledoit and Wolf 2004. Both covariances divide by n, and the value is
        between 0 and K − 1.

    Args:
        features: (n, d).
        labels: Class indices (n,) of K classes.

    Returns:
        The score; rotations, shifts and a common scale of the features leave it unchanged.

    Raises:
        UserError: There is only one class, or the features are constant or not finite.
    """
    _require_samples(features, labels)
    count, width = features.shape
    centred = features - features.mean(axis=0)
    coordinates, squares = _principal_axes(centred)
    variances = squares / count
    shrinkage = _ledoit_wolf(centred, variances)
    shrunk = (1 - shrinkage) * variances + shrinkage * variances.sum() / width
    between = np.zeros_like(variances)
    for label in np.unique(labels):
        members = coordinates[labels == label]
        between += len(members) / count * members.mean(axis=0) ** 2
    return float((1 - shrinkage) * (between / shrunk).sum())


def _ledoit_wolf(centred: Matrix, variances: Matrix) -> float:
    """Return the shrinkage λ in [0, 1] (Ledoit and Wolf 2004, §3.2).

    Args:
        centred: Centred features (n, d).
        variances: Eigenvalues of their covariance.
    """
    count, width = centred.shape
    squared_norm = float((variances**2).sum())
    dispersion = squared_norm - float(variances.sum()) ** 2 / width
    fourth = float(((centred**2).sum(axis=1) ** 2).mean())
    error = (fourth - squared_norm) / count
    return 0.0 if min(error, dispersion) <= 0 else min(1.0, error / dispersion)


def leep(probabilities: Matrix, labels: Labels) -> float:
    """LEEP: the mean log likelihood of the labels given the source classifier's probabilities.

    Source: Nguyen et al. 2020 (2002.12462), §3: with θ(x)_z the source classifier's probabilities,
    P(y, z) = Σ_{i: y_i = y} θ(x_i)_z / n and LEEP = Σ_i log Σ_z P(y_i | z) θ(x_i)_z / n.

    Args:
        probabilities: θ, (n, s); rows add up to 1.
        labels: Class indices (n,).

    Returns:
        Nats per sample, at most 0.

    Raises:
        UserError: There is only one class, or the probabilities are not finite.
    """
    _require_samples(probabilities, labels)
    classes, indices = np.unique(labels, return_inverse=True)
    joint = np.zeros((len(classes), probabilities.shape[1]))
    np.add.at(joint, indices, probabilities)
    marginal = joint.sum(axis=0)
    conditional = joint / np.where(marginal > 0, marginal, 1.0)
    likelihood = (conditional[indices] * probabilities).sum(axis=1)
    return float(np.log(likelihood).mean())


def _require_samples(values: Matrix, labels: Labels) -> None:
    if len(values) != len(labels):
        raise ValueError(f"{len(values)} samples and {len(labels)} labels")
    if not np.isfinite(values).all():
        raise UserError("the features are not finite numbers")
    if len(np.unique(labels)) < 2:
        raise UserError(f"all {len(labels)} samples are of one class; two are needed")


def _principal_axes(features: Matrix) -> tuple[Matrix, Matrix]:
    """Return the samples' coordinates (n, r) along the r axes where they do not vanish, and the sums of squares (r,).

    For F = U S Vᵀ these are U S and S². The smaller of Fᵀ F and F Fᵀ is decomposed, which is several times faster
    than decomposing F. Axes below the rounding error of the largest are dropped.
    """
    count, width = features.shape
    scale = np.abs(features).max()
    # Ignore the variance of a feature that is constant up to rounding.
    if scale == 0 or np.ptp(features, axis=0).max() <= 1e-12 * scale:
        raise UserError("the features are the same for all samples")
    gram = features.T @ features if width <= count else features @ features.T
    squares, vectors = np.linalg.eigh(gram)
    kept = squares > squares[-1] * max(count, width) * np.finfo(np.float64).eps
    squares, vectors = squares[kept], vectors[:, kept]
    coordinates = features @ vectors if width <= count else vectors * np.sqrt(squares)
    return coordinates, squares
