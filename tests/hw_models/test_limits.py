"""A sharing or a size is at most what the array or the network has."""

import pytest

from hw_models import Layer, Workload, load_profile

CHIP = load_profile("corrected")
CONV = Layer("a", "conv", 3, 8, kernel=3, in_size=8, out_size=8)


def costs(layer=CONV, profile=CHIP, **changes):
    return profile.with_values(changes).estimate(Workload((layer,), 2))


@pytest.mark.parametrize("profile", ["corrected", "spikesim_rram", "spikesim_sram"])
@pytest.mark.parametrize("changes", [{}, {"adc_per_pe": True}, {"adc": "fixed", "adc_bits": 6}])
def test_a_converter_reads_at_most_the_columns_of_an_array(profile, changes):
    """32 columns shared by 64, 65536 or 32 are the same chip, in every figure."""
    chip = load_profile(profile).with_values({"crossbar_size": 32, **changes})
    all_of_it, *more = (costs(profile=chip, columns_per_adc=columns) for columns in (32, 64, 65536))
    for report in more:
        assert report.metrics() == all_of_it.metrics()
        assert report.mapping == all_of_it.mapping


def test_latency_of_one_converter_by_hand():
    """One vector through 32 columns, each of 3.25 ns (26 clocks of 4 ns for 8) or 3.4 ns (SAR)."""
    layer = Layer("f", "linear", 4, 4)
    for columns in (32, 64):
        report = costs(layer, crossbar_size=32, columns_per_adc=columns, adc="fixed")
        assert report.latency_s.total == pytest.approx(2 * 32 * 26 * 4e-9 / 8, rel=1e-12)


def test_fewer_columns_still_take_turns():
    some, half = (costs(columns_per_adc=columns) for columns in (64, 32))
    assert some.latency_s.total == pytest.approx(2 * half.latency_s.total, rel=1e-12)


@pytest.mark.parametrize(
    ("weight_bits", "changes", "bits"),
    [
        (2, {"bits_per_cell": 4}, 7),  # one magnitude bit: sums of 64 cells are 0 .. 64
        (4, {"bits_per_cell": 4}, 9),  # three: 0 .. 448
        (5, {"bits_per_cell": 4}, 10),  # four: 0 .. 960
        (9, {"bits_per_cell": 4}, 10),
        (2, {"bits_per_cell": 4, "sign": "offset"}, 8),  # two: 0 .. 192
    ],
)
def test_a_cell_holds_at_most_the_bits_of_its_weight(weight_bits, changes, bits):
    layer = Layer("f", "linear", 64, 4, weight_bits=weight_bits)
    assert costs(layer, **changes).mapping.lossless_adc_bits == (bits,)
