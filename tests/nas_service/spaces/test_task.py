"""Tasks and operation lists: what divides, and what is refused by name."""

import pytest

from nas_service.errors import SpecError
from nas_service.spaces.operations import OPERATIONS, PRESETS, operations_of
from nas_service.spaces.task import Task


@pytest.mark.parametrize(
    ("size", "cells", "pool", "side"), [(8, 1, 1, 8), (8, 2, 4, 1), (28, 2, 7, 2), (32, 3, 2, 4)]
)
def test_side_of_the_last_map(size, cells, pool, side):
    assert Task(1, size, 10).head_side(cells, pool) == side


@pytest.mark.parametrize(("size", "cells", "side"), [(28, 4, 3.5), (7, 2, 3.5)])
def test_odd_maps_do_not_halve(size, cells, side):
    with pytest.raises(SpecError, match=f"cells = {cells}: maps of {size} pixels .* {side} pixels"):
        Task(1, size, 10).last_side(cells)


def test_pooling_the_whole_map_and_a_stem_with_a_stride():
    """TinyImageNet in SNASNet: 64 pixels, a stem of stride 2, two cells: 16 pixels."""
    task = Task(3, 64, 200)
    assert task.last_side(2, stem_stride=2) == 16
    assert task.head_side(2, 2, stem_stride=2) == 8
    assert task.head_side(2, 0, stem_stride=2) == 1
    assert task.head_side(3, 0) == 1


@pytest.mark.parametrize(("size", "cells", "pool"), [(8, 2, 3), (8, 2, 8)])
def test_sizes_that_do_not_divide(size, cells, pool):
    with pytest.raises(SpecError, match=f"head_pool = {pool}: images of {size} pixels"):
        Task(1, size, 10).head_side(cells, pool)


def test_chance_is_one_of_the_classes():
    assert Task(3, 32, 10).chance == 0.1
    assert Task(3, 32, 4).chance == 0.25


def test_presets_name_known_operations():
    """The index is a digit of SNASNet's text form, so the order must not change."""
    assert PRESETS["snasnet5"] == ("zeroize", "skip", "conv1x1", "conv3x3", "avgpool3x3")
    assert PRESETS["light3"] == ("zeroize", "skip", "conv3x3")
    others = {"sepconv3x3", "conv3x3_dilated2", *(n for n in OPERATIONS if "_th" in n)}
    assert {*PRESETS["neuronas"]} == OPERATIONS.keys() - others
    for names in PRESETS.values():
        assert operations_of(names) == names
    assert operations_of("light3") == PRESETS["light3"]


def test_properties_of_operations():
    assert {n for n, o in OPERATIONS.items() if o.weighted} == {
        n for n in OPERATIONS if "conv" in n
    }
    assert {n for n, o in OPERATIONS.items() if o.linear} == {"avgpool3x3"}


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("light", "did you mean 'light3'"),
        ((), "at least two different names"),
        (("skip",), "at least two different names"),
        (("skip", "skip"), "at least two different names"),
        (("skip", "conv9x9"), "unknown operation 'conv9x9'"),
    ],
)
def test_wrong_operation_lists(choice, message):
    with pytest.raises(SpecError, match=message):
        operations_of(choice)
