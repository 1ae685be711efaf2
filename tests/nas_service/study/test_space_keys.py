"""Keys of the search space in a study file."""

import pytest
from study_trees import MINIMAL, minimal

from nas_service.errors import NasError, SpecError
from nas_service.searches.creation import check
from nas_service.study.loading import load_spec, parse_spec


def spaced(**space):
    """A minimal study with other keys in its space; None takes one away."""
    return minimal(space={k: v for k, v in (MINIMAL["space"] | space).items() if v is not None})


def test_every_key_of_a_space_in_toml(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text("""
name = "x"
[space]
operations = ["zeroize", "skip", "sepconv3x3"]
mode = "backward"
cells = 2
shared = true
channels = [[8, 16], [16, 24, 40]]
stem_stride = 2
head_pool = ["global", 1]
hidden = 16
time_steps = [2, 4]
threshold = [0.5, 1]
weight_bits = [4, 8]
bits_of = "layer"
[data]
name = "digits"
[training]
epochs = 1
[[objectives]]
metric = "accuracy"
direction = "maximize"
""")
    spec = load_spec(path)
    check(spec)
    space = spec.build_space()
    assert space.states == ("zeroize", "skip", "sepconv3x3", "back:skip", "back:sepconv3x3")
    assert space.channels == ((8, 16), (16, 24, 40))
    assert space.head_pool == (1, 0)
    assert space.threshold == (0.5, 1.0)
    assert (space.backward, space.shared, space.stem_stride) == (True, True, 2)
    assert space.size == 5**6 * 2 * 3 * 2 * 2 * 2 * 2**16
    assert parse_spec(spec.model_dump_json(), "again") == spec


@pytest.mark.parametrize(
    ("space", "name", "value"),
    [
        ({"head_pool": "global"}, "head_pool", (0,)),
        ({"head_pool": [2, "global"]}, "head_pool", (2, 0)),
        ({"head_pool": ["global", 1, 2]}, "head_pool", (1, 2, 0)),
        ({"channels": [[8, 16], 4]}, "channels", ((8, 16), (4,))),
        ({"channels": [8, 16]}, "channels", (8, 16)),
        ({"threshold": 2}, "threshold", (2.0,)),
        ({"time_steps": 1}, "time_steps", (1,)),
    ],
)
def test_sizes_of_a_space(space, name, value):
    spec = spaced(**space)
    assert getattr(spec.build_space(), name) == value
    assert parse_spec(spec.model_dump_json(), "again") == spec


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"head_pool": ["global", "global"]}, "'global' is listed twice"),
        ({"head_pool": [2, 1, "global"]}, "must ascend"),
        ({"head_pool": "globl"}, "did you mean 'global'"),
        ({"head_pool": []}, "space.head_pool"),
        ({"head_pool": [-1]}, "space.head_pool"),
        ({"head_pool": [True]}, "space.head_pool"),
        ({"head_pool": ["global", 4], "cells": 2}, "'global' means 4"),
        ({"channels": [[8, 16]]}, "channels: 1 lists for 2 cells"),
        ({"channels": [[8], [8], [8]]}, "channels: 3 lists for 2 cells"),
        ({"channels": [[8], []]}, "space.channels"),
        ({"channels": [[16, 8], [8]]}, "must ascend"),
        ({"channels": [8, [8]]}, "space.channels"),
        ({"channels": [[[8]], [8]]}, "space.channels"),
        ({"mode": "backwards"}, "space.mode"),
        ({"mod": "backward"}, "did you mean 'mode'"),
        ({"shard": True}, "did you mean 'shared'"),
        ({"stem_strid": 2}, "did you mean 'stem_stride'"),
        ({"treshold": 1.0}, "did you mean 'threshold'"),
        ({"bit_of": "part"}, "did you mean 'bits_of'"),
        ({"mode": "backward", "time_steps": [1, 2]}, "a backward edge sends to the next of 2"),
        ({"shared": 1}, "space.shared"),
        ({"stem_stride": 0}, "space.stem_stride"),
        ({"stem_stride": 5}, "space.stem_stride"),
        ({"stem_stride": 2, "cells": 4}, "0.5 pixels would be left"),
        ({"cells": 4, "stem_stride": 3}, "do not halve 3 times"),
        ({"threshold": 0}, "space.threshold"),
        ({"threshold": [1.0, 0.5]}, "must ascend"),
        ({"threshold": "1"}, "space.threshold"),
        ({"bits_of": "edge"}, "space.bits_of"),
        ({"operations": ["skip", "back:skip"]}, "back:skip"),
    ],
)
def test_wrong_spaces_name_the_key(space, message):
    with pytest.raises(NasError) as caught:
        check(spaced(**space))
    assert message in str(caught.value)


def test_a_stride_makes_maps_that_divide():
    """8 pixels halved by the stem and by a reduction: 2 are left, of which 2 is all."""
    check(spaced(stem_stride=2, head_pool=[1, 2]))
    with pytest.raises(SpecError, match="head_pool = 4"):
        check(spaced(stem_stride=2, head_pool=4))
    with pytest.raises(SpecError, match="'global' means 2"):
        check(spaced(stem_stride=2, head_pool=[2, "global"]))
