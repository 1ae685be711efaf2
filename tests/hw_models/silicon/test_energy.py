"""Energy, area and time of one crossbar, by hand from its structure."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw_models import ProfileError
from hw_models.silicon.area import macro_area
from hw_models.silicon.energy import ARRAYS, product_energy, row_fF
from hw_models.silicon.latency import product_latency, slowdown
from hw_models.silicon.macro import Macro, Point
from hw_models.silicon.measured import known_chips, load_chip
from hw_models.silicon.processor import Processor, operation_energy
from hw_models.silicon.reads import count_reads
from hw_models.silicon.validation import modelled_energy

# 28 nm, cells of 10 x 10 F: an access gate of 12 F is 0.336 fF, a wire of 0.28 um 0.056 fF.
RRAM = Macro(
    node=28, device="rram", sensing="follower", rows=100, sums=10, cells_per_sum=2, cell_area=100,
    coding="levels", bits_per_read=1, converter="sar", converters=5,
)  # fmt: skip
# 28 nm SRAM: an access gate of 4 F is 0.112 fF.
SRAM = replace(RRAM, device="sram", sensing="charge")
POINT = Point("a", supply=1.0, input_bits=1, output_bits=4, activity=0.5, read_time=10.0)


def test_a_row_is_gates_wire_and_drivers():
    assert row_fF(RRAM) == pytest.approx(20 * (0.336 + 0.056) * 4 / 3)
    assert row_fF(SRAM) == pytest.approx(20 * (0.112 + 0.056) * 4 / 3)


def test_a_product_of_conducting_cells_by_hand():
    parts = product_energy(RRAM, POINT)
    assert parts["rows"] == pytest.approx(100 * 0.5 * 20 * 0.392 * 4 / 3 * 1e-3)
    # 0.1 V across 27.5 uS for 10 ns is 2.75 fJ; half of 2000 cells conduct
    assert parts["array"] == pytest.approx(1000 * 2.75e-3)
    # 40 fF a bit and 8 fF a level: 288 fF
    assert parts["converters"] == pytest.approx(10 * 0.288)
    # registers of three gates of 0.7 fF: 100 input bits, 10 sums of 4 bits, half of CV^2
    assert parts["digital"] == pytest.approx((100 + 40) * 3 * 0.7 / 2 * 1e-3)


def test_bits_one_after_the_other_convert_each_time_and_are_added():
    serial = product_energy(RRAM, replace(POINT, input_bits=4))
    one = product_energy(RRAM, POINT)
    for component in ("rows", "array", "converters"):
        assert serial[component] == pytest.approx(4 * one[component])
    # 4 conversions of 4 + 2 bits, a register and an adder each
    assert serial["digital"] == pytest.approx((400 * 3 + 10 * 4 * 6 * 9) * 0.7 / 2 * 1e-3)


def test_several_bits_at_once_need_a_dac():
    parts = product_energy(replace(RRAM, bits_per_read=4), replace(POINT, input_bits=4))
    switched = 100 * 0.5 * row_fF(RRAM) * 1e-3
    assert parts["rows"] == pytest.approx(switched + 100 * 50 * 4 * 1e-3)
    assert parts["converters"] == pytest.approx(10 * 0.288)


def test_clamps_draw_more_than_the_largest_current_while_they_hold_a_column():
    parts = product_energy(replace(RRAM, sensing="clamp"), POINT)
    # 100 cells of 0.1 V / 20 kOhm: 0.5 mA; 1.5 times that at 1 V for 10 ns is 7.5 pJ
    assert parts["converters"] == pytest.approx(10 * (0.288 + 7.5))
    assert parts["array"] == pytest.approx(1000 * 2.75e-3)


def test_lines_that_are_charged_cost_their_capacitance():
    parts = product_energy(replace(RRAM, sensing="line"), replace(POINT, read_voltage=0.5))
    assert parts["array"] == pytest.approx(20 * 100 * 0.392 * 0.25 * 1e-3)


def test_cells_with_a_capacitor_switch_one_and_a_half_gates():
    assert product_energy(SRAM, POINT)["array"] == pytest.approx(2000 * 1.05 * 1e-3)
    pulses = replace(SRAM, coding="pulses")
    pulsed = product_energy(pulses, replace(POINT, input_bits=4, weights=0.25))
    assert pulsed["array"] == pytest.approx(2000 * 0.5 * 0.25 * 1.05 * 1e-3)
    assert pulsed["rows"] == pytest.approx(100 * 0.5 * 15 * row_fF(SRAM) * 1e-3)


def test_digital_cells_hold_an_adder():
    digital = replace(SRAM, sensing="digital", converter="none", converters=0)
    parts = product_energy(digital, POINT)
    assert parts["array"] == pytest.approx(2000 * 0.5 * 6 * 0.7 * 1e-3)
    # a gate of 0.7 fF and a wire of 0.056 fF at each of 20 cells, and a third more
    assert parts["rows"] == pytest.approx(100 * 0.5 * 20 * 0.756 * 4 / 3 * 1e-3)
    assert parts["converters"] == 0


@pytest.mark.parametrize(
    ("converter", "fF"),
    [("sar", 4 * 40 + 16 * 8), ("flash", 15 * 135 * 28 / 65), ("tdc", 16 * 2 * 0.7)],
)
def test_conversions_by_hand(converter, fF):
    parts = product_energy(replace(RRAM, converter=converter), POINT)
    assert parts["converters"] == pytest.approx(10 * fF * 1e-3)


def test_phases_of_neurram():
    neurons = replace(RRAM, coding="phases", converter="integrator", sensing="line")
    reads = count_reads(neurons, replace(POINT, input_bits=6, output_bits=8))
    # five bits of magnitude in phases of 3 and 2: 7 + 3 integrations, 8 + 5 decrements
    assert (reads.toggles, reads.columns, reads.conversions, reads.steps) == (5, 10, 2, 23)
    assert count_reads(neurons, POINT).steps == 1 + 4
    parts = product_energy(neurons, POINT)
    assert parts["converters"] == pytest.approx(10 * 5 * 0.2)


def test_a_swing_below_the_high_level_costs_less():
    low = replace(POINT, row_high=2.2, row_swing=1.3)
    ratio = product_energy(RRAM, low)["rows"] / product_energy(RRAM, POINT)["rows"]
    assert ratio == pytest.approx(2.2 * 1.3)


def test_area_by_hand():
    F2 = 28e-6**2  # mm2
    parts = macro_area(RRAM, 4)
    assert parts["array"] == pytest.approx(1.6 * 2000 * 100 * F2)
    assert parts["rows"] == pytest.approx(1.6 * 100 * 18_800 * F2)
    assert parts["converters"] == pytest.approx(1.6 * 5 * 16 * 10 ** (1.206 - 0.1476) * 1e-6)
    dacs = macro_area(replace(RRAM, bits_per_read=4), 4)["rows"] - parts["rows"]
    assert dacs == pytest.approx(1.6 * 100 * 4 * 45e-6)


# At the supply of the constants, so that the alpha-power law has nothing to change.
AT_0_8_V = replace(POINT, supply=0.8)


def test_times_of_converters_by_hand():
    # two sums to a converter, four bits of 0.640 + 0.653 ns
    assert product_latency(RRAM, AT_0_8_V) == pytest.approx(2 * 4 * 1.293)
    assert product_latency(RRAM, replace(AT_0_8_V, input_bits=3)) == pytest.approx(3 * 8 * 1.293)
    clocked = replace(RRAM, converter="tdc", clock=500)
    assert product_latency(clocked, POINT) == pytest.approx(2 * 4 * 2)
    steps = replace(RRAM, converter="integrator", coding="phases", sensing="line", converters=10,
                    integration_time=200, step_time=300)  # fmt: skip
    # five bits of magnitude in phases of 3 and 2: 7 + 3 integrations, 8 + 5 bits, 2 pauses
    six = replace(POINT, input_bits=6, output_bits=8)
    assert product_latency(steps, six) == pytest.approx(10 * 200 + 15 * 300)


def test_pulses_come_before_a_flash_conversion():
    flash = replace(SRAM, coding="pulses", converter="flash", converters=10)
    # a row is 20 cells of 0.168 fF and a third more: 6.4 gates of 0.7 fF, two stages
    pulse_ns = 2 * 2 * 0.0478
    # 15 pulses, columns charged again as long as a pulse, a comparator and four gates
    own = product_latency(flash, replace(AT_0_8_V, input_bits=4))
    assert own == pytest.approx(16 * pulse_ns + 5 * 0.0478)


def test_a_time_depends_on_node_and_supply():
    assert slowdown(28, 0.8) == pytest.approx(1)
    assert slowdown(65, 0.8) == pytest.approx(1 / 0.67)
    assert slowdown(28, 1.0) == pytest.approx(1 / 0.65**1.3 / (0.8 / 0.45**1.3))


@pytest.mark.parametrize(
    ("changes", "supply", "message"),
    [
        ({"converter": "none"}, 1.0, "converter = none: times are known of sar, flash, integr"),
        ({"node": 180}, 1.0, "node = 180 nm: factors are known for 130, 90, 65, 45, 40, 32, 28"),
        ({}, 0.35, "supply = 0.35 V: above 0.35 V is needed for a time"),
        ({"converter": "tdc"}, 1.0, "clock of a time-to-digital converter is needed"),
        ({"converter": "integrator"}, 1.0, "integration_time and step_time of an integrator"),
    ],
)
def test_a_time_that_is_not_modelled_says_why(changes, supply, message):
    with pytest.raises(ProfileError, match=message):
        product_latency(replace(RRAM, **changes), replace(POINT, supply=supply))


def test_a_synaptic_operation_by_hand():
    # 8 bits read, 16 read and written, of 10/64 pJ each; 16 bits added, of 0.03/8 pJ; at 45 nm
    parts = operation_energy(Processor(45, 8, 16), replace(POINT, supply=0.9))
    assert parts == pytest.approx({"array": 1.25, "potentials": 5.0, "digital": 0.06})
    small = operation_energy(Processor(28, 8, 16), replace(POINT, supply=0.45))
    assert small["array"] == pytest.approx(1.25 * 0.37 / 0.63 / 4)
    with pytest.raises(ProfileError, match="node = 20 nm: factors are known for"):
        operation_energy(Processor(20, 8, 16), POINT)


@pytest.mark.parametrize("name", known_chips())
def test_every_component_of_every_chip_is_a_positive_finite_energy(name):
    chip = load_chip(name)
    for measured in chip.points:
        parts = modelled_energy(chip.macro, measured.point)
        assert set(measured.split_pJ) <= set(parts)
        assert all(0 <= pJ < 1e6 for pJ in parts.values())
        assert sum(parts.values()) > 0


@given(
    sensing=st.sampled_from(sorted(ARRAYS)),
    converter=st.sampled_from(["sar", "flash", "tdc", "integrator", "none"]),
    coding=st.sampled_from(["levels", "pulses", "phases"]),
    rows=st.integers(1, 99),
    volts=st.floats(0.3, 2),
)
def test_more_rows_and_more_volts_never_cost_less(sensing, converter, coding, rows, volts):
    macro = replace(RRAM, sensing=sensing, converter=converter, coding=coding)
    low = replace(POINT, input_bits=3, rows=rows, supply=volts)
    few = product_energy(macro, low)
    many = product_energy(macro, replace(low, rows=rows + 1))
    high = product_energy(macro, replace(low, supply=volts * 1.1))
    assert sum(few.values()) <= sum(many.values())
    assert sum(few.values()) <= sum(high.values())
