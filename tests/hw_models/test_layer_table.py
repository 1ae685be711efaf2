"""Sums over layers do not depend on the batch that a workload is in."""

import numpy as np
import pytest

from hw_models.layer_table import over_layers


@pytest.mark.parametrize("layers", [1, 3, 16, 37])
def test_a_sum_is_the_same_to_the_last_bit_in_every_batch(layers):
    rng = np.random.default_rng(layers)
    values = rng.random((300, layers)) * 10.0 ** rng.integers(-9, 9, (300, layers))
    weights = rng.random((300, 1))
    sums, weighted = over_layers(values), over_layers(values, weights)
    for part in (slice(0, 7), slice(7, 8), slice(3, 211), slice(None, None, -1), slice(1, 300, 3)):
        for order in (np.ascontiguousarray, np.asfortranarray):
            some = order(values[part])
            assert (over_layers(some) == sums[part]).all()
            assert (over_layers(some, weights[part]) == weighted[part]).all()
    np.testing.assert_allclose(sums, values.sum(-1), rtol=1e-13)
    np.testing.assert_allclose(weighted, (values * weights).sum(-1), rtol=1e-13)
    assert over_layers(values[5]) == sums[5]
