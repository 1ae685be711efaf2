"""Combinations of whole numbers are numbered alike, however large the numbers are."""

import numpy as np
import pytest

from nas_service.snn import shape_table
from nas_service.snn.shape_table import Keys

ROWS = np.array([[3], [0], [3], [1]])
COLUMNS = np.array([[2, 0, 2], [1, 1, 0], [2, 0, 2], [0, 0, 5]])


@pytest.mark.parametrize(
    "limits", [{}, {"MOST_KEYS": 2}, {"MOST_NUMBERS": 2}], ids=["table", "sorted", "large"]
)
def test_every_combination_that_occurs_has_one_number(monkeypatch, limits):
    for name, value in limits.items():
        monkeypatch.setattr(shape_table, name, value)
    keys = Keys.of(ROWS, COLUMNS)
    assert list(zip(*(x.tolist() for x in keys.columns), strict=True)) == [
        (0, 0), (0, 1), (1, 0), (1, 5), (3, 0), (3, 2)
    ]  # fmt: skip
    assert (keys.columns[0][keys.which] == np.broadcast_to(ROWS, COLUMNS.shape)).all()
    assert (keys.columns[1][keys.which] == COLUMNS).all()
