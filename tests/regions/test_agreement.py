"""All methods on random networks of many shapes."""

from __future__ import annotations

import numpy as np
import pytest

from byways.core.chain import LayerChain
from byways.networks import random_network
from byways.regions import enumerate_regions
from tests.oracles.patterns import patterns_by_lp
from tests.oracles.plain import hidden_layers
from tests.regions.nets import ACTIVATIONS, whole_numbered

UNITS = {1: 6, 2: 5, 3: 4, 4: 3}  # of each layer, by the number of layers
CASES = [
    pytest.param(case, marks=() if case % 8 == case // 8 % 8 else pytest.mark.slow)
    for case in range(200)
]


def network(case: int) -> LayerChain:
    """Go through all dimensions up to 8, 1 to 4 layers and all activations; some degenerate."""
    dim, layers, activation = 1 + case % 8, 1 + case // 8 % 4, ACTIVATIONS[case % 5]
    width = UNITS[layers] - (len(activation.breakpoints) > 1) - (dim > 5 and layers == 2)
    widths = (dim, *[width] * layers, 1)
    if case % 3 == 2:
        return whole_numbered(widths, case, activation)
    return random_network(widths, rng=case, activation=activation)


@pytest.mark.parametrize("case", CASES)
def test_methods_agree(case: int) -> None:
    chain = network(case)
    reports = {
        method: enumerate_regions(chain, (-1, 1), method=method)
        for method in ("lp", "simplex", "vertices")
    }
    for method, report in reports.items():
        assert report.outcome.complete
        assert np.array_equal(report.signs, reports["lp"].signs), method
        assert report.layer_counts == reports["lp"].layer_counts, method
        sure = ~chain.on_boundary(report.witnesses, 1e-12)
        assert np.array_equal(chain.segments(report.witnesses)[sure], report.signs[sure]), method


@pytest.mark.parametrize("case", [1, 9, 10, 26])
def test_signs_are_those_of_one_program_per_candidate(case: int) -> None:
    chain = network(case)
    box = ([-1.0] * chain.input_size, [1.0] * chain.input_size)
    expected = sorted(patterns_by_lp(hidden_layers(chain), box))
    report = enumerate_regions(chain, (-1, 1), method="vertices")
    assert report.signs.tolist() == [list(row) for row in expected]
