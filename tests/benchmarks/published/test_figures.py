"""Published figures and their bands."""

from __future__ import annotations

import statistics

import pytest
from scipy import stats

from benchmarks.published.figures import prediction_band, published


def test_prediction_band_covers_one_more_run():
    generator = statistics.NormalDist(80, 0.5)
    inside = 0
    for seed in range(400):
        *known, one_more = generator.samples(5, seed=seed)
        low, high = prediction_band(known)
        inside += low <= one_more <= high
    assert inside / 400 == pytest.approx(0.95, abs=0.03)
    # mmdetection#2773: 80.135 ± 3.182 · 0.505 · √1.25
    low, high = prediction_band([80.86, 79.74, 79.85, 80.09])
    assert (low + high) / 2 == pytest.approx(80.135)
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, 3) * 0.50494 * 1.25**0.5, rel=1e-3)


def test_every_figure_is_inside_its_own_band():
    for figure in published():
        low, high = figure.band
        assert low <= statistics.mean(figure.values) <= high
        assert figure.source and figure.test_images > 0
        if len(figure.values) > 1:
            assert all(low <= value <= high for value in figure.values)
