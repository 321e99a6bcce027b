"""Multinomial logistic regression on frozen features; held-out training images choose the L2 strength.

Source: CLIP (Radford et al. 2021, 2103.00020), A.3: L-BFGS with up to 1,000 iterations; the L2 strength is searched
    with halving steps on a part of the training set; the final fit uses all of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional

from contract.errors import UserError

# Samples per chunk in float64; all samples stay in float64 if they have at most this many numbers.
CHUNK = 16384
MOST_KEPT = 2**27
# L-BFGS has converged if no gradient component of the mean loss exceeds this.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class LinearProbe:
    """A fitted linear classifier.

    Attributes:
        weight: (K, d), for standardised features.
        bias: (K,).
        mean: Mean of the features that it was fitted on, (d,).
        scale: Their standard deviation, or 1 if that is 0, (d,).
        iterations: Iterations of L-BFGS.
        converged: Whether L-BFGS ended before its last iteration.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    scale: Tensor
    iterations: int
    converged: bool

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (n, K) in float64 of features (n, d)."""
        parts = _standardised(features, self.mean, self.scale)
        return torch.cat([part @ self.weight.T + self.bias for part in parts])


@dataclass(frozen=True)
class Trial:
    """The result of one L2 strength.

    Attributes:
        exponent: The strength is 10 to the power of this.
        top1: Accuracy on the held-out images, in percent.
        loss: Mean cross-entropy on the held-out images, in nats.
        converged: Whether the fit converged.
    """

    exponent: float
    top1: float
    loss: float
    converged: bool


def fit(
    features: Tensor,
    labels: Tensor,
    classes: int,
    strength: float,
    iterations: int,
    start: LinearProbe | None = None,
) -> LinearProbe:
    """Minimise Σ cross-entropy + strength / 2 · ‖W‖² over standardised features; the bias is not penalised.

    Args:
        features: (n, d).
        labels: Class indices (n,).
        classes: K.
        strength: Above 0.
        iterations: Limit of L-BFGS.
        start: Starting point; None starts from zeros. The minimum is the same.
    """
    mean, scale = _standardisation(features)
    count, width = features.shape
    device = features.device
    kept = None
    if features.numel() <= MOST_KEPT:
        kept = list(_standardised(features, mean, scale))

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Return both per sample: the tolerance then does not depend on the number of samples."""
        point = torch.from_numpy(flat).to(device).view(classes, width + 1)
        weight, bias = point[:, :width], point[:, width]
        loss = strength / 2 * float(weight.square().sum())
        gradient = torch.zeros_like(point)
        gradient[:, :width] = strength * weight
        chunks = kept or _standardised(features, mean, scale)
        for shown, truth in zip(chunks, labels.split(CHUNK), strict=True):
            logits = shown @ weight.T + bias
            loss += float(functional.cross_entropy(logits, truth, reduction="sum"))
            error = logits.softmax(dim=1) - functional.one_hot(truth, classes)
            gradient[:, :width] += error.T @ shown
            gradient[:, width] += error.sum(dim=0)
        return loss / count, (gradient / count).flatten().cpu().numpy()

    first = np.zeros(classes * (width + 1))
    if start is not None:
        first = torch.cat([start.weight, start.bias[:, None]], dim=1).flatten().cpu().numpy()
    found = minimize(
        loss_and_gradient,
        first,
        jac=True,
        method="L-BFGS-B",
        options=dict(maxiter=iterations, maxfun=2 * iterations, gtol=TOLERANCE, ftol=0.0),
    )
    point = torch.from_numpy(found.x).to(device).view(classes, width + 1)
    # Status 2 means that the line search found no lower point, due to rounding.
    return LinearProbe(
        point[:, :width], point[:, width], mean, scale, int(found.nit), found.status != 1
    )


def _standardised(features: Tensor, mean: Tensor, scale: Tensor) -> Iterator[Tensor]:
    return ((part.double() - mean) / scale for part in features.split(CHUNK))


def _standardisation(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (d,) in float64; 1 for features that are constant up to rounding."""
    parts = features.split(CHUNK)
    mean = torch.stack([part.double().sum(dim=0) for part in parts]).sum(dim=0) / len(features)
    squares = torch.stack([(part.double() - mean).square().sum(dim=0) for part in parts])
    scale = (squares.sum(dim=0) / len(features)).sqrt()
    return mean, torch.where(scale > 1e-6 * mean.abs(), scale, torch.ones_like(scale))


def hold_out(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split samples within each class: indices to fit on, and held-out indices, each in order.

    Args:
        labels: Class indices (n,).
        fraction: Held-out part of each class, in (0, 1); at least one sample of a class of two or more, and never all.
        seed: Seed of the choice.

    Raises:
        UserError: No class has two samples.
    """
    generator = np.random.default_rng(seed)
    truth = labels.cpu().numpy()
    held: list[np.ndarray] = []
    for label in np.unique(truth):
        members = generator.permutation(np.flatnonzero(truth == label))
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held.append(members[:count])
    chosen = np.sort(np.concatenate(held))
    if not len(chosen):
        raise UserError(
            "no class has two training images, and none can be held out to choose the strength of the linear probe; "
            "add images"
        )
    rest = np.setdiff1d(np.arange(len(truth)), chosen)
    return torch.from_numpy(rest), torch.from_numpy(chosen)


def choose_exponent(
    features: Tensor,
    labels: Tensor,
    classes: int,
    held: tuple[Tensor, Tensor],
    search: Mapping[str, Any],
    iterations: int,
) -> tuple[float, list[Trial]]:
    """Find the power of ten for which a fit on one part of the training images is best on the other part.

    Args:
        features: Features of all training images, (n, d).
        labels: Their class indices (n,).
        classes: K.
        held: The result of `hold_out`.
        search: `low`, `high`, `step` (exponents) and `halvings`. The coarse steps go from strong to weak, and end after
            two without an improvement.
        iterations: Limit of L-BFGS.

    Returns:
        The exponent, and all trials in their order. The lower loss decides between equal accuracies.
    """
    fitted, chosen = (part.to(features.device) for part in held)
    probes: dict[float, LinearProbe] = {}
    trials: dict[float, Trial] = {}

    def attempt(exponent: float) -> None:
        if exponent in trials or not search["low"] <= exponent <= search["high"]:
            return
        # Start from the result of the nearest strength.
        near = min(probes, key=lambda other: abs(other - exponent), default=exponent)
        probes[exponent] = fit(
            features[fitted],
            labels[fitted],
            classes,
            10.0**exponent,
            iterations,
            probes.get(near),
        )
        trial = _trial(exponent, probes[exponent], features[chosen], labels[chosen])
        trials[exponent] = trial
        print(f"linear:    strength 10^{exponent:g}, {trial.top1:.2f}% of held-out images right")

    step = float(search["step"])
    for number in range(math.floor((search["high"] - search["low"]) / step + 1e-9) + 1):
        if trials and min(trials) <= _best(trials) - 2 * step:
            break
        attempt(search["high"] - number * step)
    for _ in range(search["halvings"]):
        step /= 2
        best = _best(trials)
        attempt(best + step)
        attempt(best - step)
    return _best(trials), list(trials.values())


def _trial(exponent: float, probe: LinearProbe, features: Tensor, labels: Tensor) -> Trial:
    logits = probe.logits(features)
    right = (logits.argmax(dim=1) == labels).double().mean()
    return Trial(
        exponent,
        100 * float(right),
        float(functional.cross_entropy(logits, labels)),
        probe.converged,
    )


def _best(trials: Mapping[float, Trial]) -> float:
    return max(trials, key=lambda exponent: (trials[exponent].top1, -trials[exponent].loss))
