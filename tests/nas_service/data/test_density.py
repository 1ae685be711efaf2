"""The share of set bits in pixels and counts of events, by hand."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nas_service.data import density
from nas_service.data.images import Images, Split, Stock
from nas_service.errors import DataError
from nas_service.evaluation.images import StudyImages
from nas_service.spaces.input_density import ASSUMED, LEAST, InputDensity
from nas_service.spaces.task import Task


def images(pixels, kind=np.uint8):
    array = np.array(pixels, dtype=kind)
    return Images.of(Stock.of(array), np.zeros(len(array), np.int64))


def test_set_bits_of_pixels():
    """0, 255, 1 and 6 have 0 + 8 + 1 + 2 of 32 bits set; three of four are not 0."""
    two = images([[[[0, 255]]], [[[1, 6]]]])
    assert density.density_of(two) == InputDensity(11 / 32)
    assert density.frame_shares(two, counts_bits=False).tolist() == [0.75]


def test_scaled_images_have_no_value_of_0():
    assert density.density_of(images([[[[0, 1]]]]), counts_bits=False).share == 1.0


def test_only_the_rows_of_the_part_count():
    assert density.density_of(images([[[[0]]], [[[255]]]]).take(np.array([1]))).share == 1.0


def test_recordings_have_a_share_for_each_frame():
    """A count above 255 is given to the chip as 255."""
    frames = images([[[[[3, 0]]], [[[300, 0]]]]], np.uint16)
    assert density.frame_shares(frames).tolist() == [2 / 16, 8 / 16]
    assert density.density_of(frames) == InputDensity(5 / 16, frames=2)
    assert density.density_of(frames, counts_bits=False).share == 0.5


def test_large_data_are_sampled_at_equal_distances(monkeypatch):
    many = images(np.arange(8).reshape(8, 1, 1, 1) % 2 * 255)
    monkeypatch.setattr(density, "SAMPLE_B", 3)
    assert density.density_of(many).share == 1 / 3  # numbers 0, 3 and 6


def test_images_are_the_same_at_every_step_and_events_are_shared_among_them():
    steps = np.array([2, 4, 8])
    assert InputDensity(0.25).at(steps).tolist() == [0.25] * 3
    assert InputDensity(0.25, frames=4).at(steps).tolist() == [0.5, 0.25, 0.125]
    assert InputDensity(0.75, frames=4).at(2) == 1.0


def test_a_network_reads_recordings_in_as_many_frames_as_it_has_steps():
    """Screened at the density of two frames, costed after its training by each of its four."""
    two = images([[[[[3]]], [[[1]]]]] * 2)
    four = images([[[[[1]]], [[[1]]], [[[1]]], [[[0]]]]] * 2)
    source = SimpleNamespace(task=Task(1, 1, 2, events=True))
    splits = {2: Split(two, two), 4: Split(four, four)}
    study = StudyImages(SimpleNamespace(), source, Path(), splits[2], splits)
    known = study.density()
    assert known == InputDensity(3 / 16, frames=2)
    assert study.input_rates(known, 4) == {"stem": (1 / 8, 1 / 8, 1 / 8, 0.0)}
    assert known.at(4) == 3 / 32 == sum(study.input_rates(known, 4)["stem"]) / 4
    assert study.input_rates(study.density(counts_bits=False), 4) == {}


def test_what_is_assumed_is_named():
    assert "assumed" in ASSUMED.text
    assert (ASSUMED.share, LEAST.share) == (1.0, 0.0)
    assert "measured" in InputDensity(0.5).text
    assert "trainings counted them" in InputDensity(1.0, counts_bits=False).text
    assert "6 time steps" in InputDensity(0.5, frames=6).text


def test_json_returns_the_same_density():
    for one in (ASSUMED, InputDensity(0.25, 3, counts_bits=False)):
        assert InputDensity.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": 2}, {"share": -0.1}, {"share": "0.5"}, {"share": True}, {"share": float("nan")},
        {"frames": -1}, {"frames": 1.5}, {"shares": 0.5}, {"measured": 1}, {"counts_bits": None},
    ],
)  # fmt: skip
def test_damaged_json_is_refused(wrong):
    for data in (InputDensity(0.5).to_json() | wrong, wrong, [wrong], None):
        with pytest.raises(DataError, match="input density"):
            InputDensity.from_json(data)
