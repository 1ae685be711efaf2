"""The default chip, of validated parts: by hand, and what each of its options changes."""

import math

import pytest

from hw_models import Layer, Workload, load_profile
from hw_models.silicon.constants import AREA, CONSTANTS
from hw_models.silicon.measured import load_chip
from hw_models.silicon.validation import validate

CHIP = load_profile("rram_28nm")
RATE = 0.25
# 6 inputs of 3 x 3 windows and 10 outputs of 4 bits: 54 rows, 20 columns of 3-bit cells.
CONV = Layer("a", "conv", 6, 10, kernel=3, in_size=4, out_size=4, weight_bits=4, spike_rate=RATE)
WORK = Workload((CONV,), 2)
READS = 2 * 16  # two time steps of 16 pixels


def energy(chip=CHIP, work=WORK):
    return chip.estimate(work).energy_J.by_component()


def area(chip=CHIP):
    return chip.estimate(WORK).area_m2.by_component()


def test_rows_cost_the_cells_that_they_cross():
    # 54 rows, each as long as the 128 columns of its crossbar
    assert energy()["rows"] == pytest.approx(READS * 54 * 128 * RATE * 0.000407e-12)
    wide = Workload((Layer("a", "linear", 10, 100, spike_rate=RATE, weight_bits=4),), 1)
    # 200 columns: two crossbars
    assert energy(work=wide)["rows"] == pytest.approx(10 * 256 * RATE * 0.000407e-12)
    grouped = Workload((Layer("a", "conv", 6, 12, kernel=3, in_size=4, out_size=4, groups=2,
                              weight_bits=4, spike_rate=RATE),), 1)  # fmt: skip
    assert energy(work=grouped)["rows"] == pytest.approx(16 * 54 * 128 * RATE * 0.000407e-12)


def test_cells_conduct_while_their_pair_is_converted():
    # 500 MHz allow 6.5 ns; the converter needs 8 bits of 0.640 + 128 x 0.00653 ns
    column_s = 8 * (0.640 + 128 * 0.00653) * 1e-9
    conductance_S = (1 / 20e3 + 1 / 200e3) / 2
    cells = READS * 54 * 20 * RATE
    assert energy()["crossbar"] == pytest.approx(cells * 0.01 * conductance_S * column_s)


def test_a_pair_is_converted_once_and_not_subtracted():
    busy = 1 - (1 - RATE) ** 54
    one = (8 * 0.0324 + 256 * 0.00648) * 1e-12
    assert energy()["adc"] == pytest.approx(READS * 10 * busy * one)
    assert "subtractor" not in energy()
    each = energy(CHIP.with_values({"pair_conversion": "each"}))
    assert each["adc"] == pytest.approx(2 * energy()["adc"])
    assert each["subtractor"] > 0


def test_pairs_share_converters():
    # 64 pairs, 8 to a converter, read one after the other
    assert CHIP.chip.converters_per_set == 8
    assert CHIP.chip.read_s == pytest.approx(8 * CHIP.chip.column_s)
    assert CHIP.with_values({"columns_per_adc": 128}).chip.shared_columns == 64


def test_area_of_the_crossbars_in_use_or_of_whole_tiles():
    assert area()["crossbar"] == pytest.approx(1.6 * 128 * 128 * 0.0416e-12)
    assert area()["rows"] == pytest.approx(1.6 * 128 * 14.7e-12)
    whole = area(CHIP.with_values({"tiles": "whole"}))
    for part in ("crossbar", "rows", "adc", "h_tree", "tile_buffer"):
        assert whole[part] == pytest.approx(4 * area()[part])
    assert whole["input_memory"] == area()["input_memory"]


def test_wires_of_a_tile_by_length_and_pitch():
    parts = area(CHIP.with_values({"tiles": "whole"}))
    pes_m2 = sum(parts[name] for name in ("crossbar", "rows", "adc", "mux", "adder"))
    wires_m2 = 128 * 0.1e-6 * 1.5 * math.sqrt(pes_m2) * (math.sqrt(4) - 1)
    assert parts["h_tree"] == pytest.approx(wires_m2)


def test_its_figures_are_those_of_the_model_of_one_crossbar():
    """Constants of hw_models/silicon at 28 nm and 0.9 V."""
    pitch_um = math.sqrt(53) * 28e-3
    line_fF = CONSTANTS.gate_fF_um * CONSTANTS.rram_access_F * 28e-3 + 0.2 * pitch_um
    values = CHIP.values
    assert values["row_cell_energy"] == pytest.approx(line_fF * 4 / 3 * 0.81e-3, rel=2e-3)
    assert values["sar_bit_energy"] == pytest.approx(CONSTANTS.sar_bit_fF * 0.81e-3)
    assert values["sar_level_energy"] == pytest.approx(CONSTANTS.sar_level_fF * 0.81e-3)
    assert values["cell_area"] == pytest.approx(53 * 28e-3**2, rel=2e-3)
    assert values["driver_area"] == pytest.approx(AREA.rram_driver_F2 * 28e-3**2, rel=4e-3)
    assert values["placement"] == AREA.placement


def test_figures_of_other_nodes_are_scaled_and_say_so():
    before, after = load_profile("corrected").entries, CHIP.entries
    sram, area, neuron = (after[key] for key in ("sram_bit_energy", "sram_bit_area",
                                                  "neuron_update_energy"))  # fmt: skip
    assert sram.value == pytest.approx(0.156 * 0.37 / 0.63)
    assert (sram.low, sram.high) == pytest.approx((0.08 * 0.37 / 0.63, 0.25 * 0.37 / 0.63))
    assert sram.node == "28 nm, energy x 0.587 from 45 nm (DeepScaleTool)"
    assert area.value == pytest.approx(0.7391 * 0.35 / 2.04)
    assert neuron.value == pytest.approx(1.274 * 0.37)
    for key in ("wire_bit_energy", "on_resistance", "dac_bit_energy"):
        assert after[key].value == before[key].value
        assert "DeepScaleTool" not in after[key].node


@pytest.mark.parametrize("bits", [2, 10])
def test_converters_out_of_the_measured_range_are_refused(bits):
    with pytest.raises(ValueError, match=f"adc_bits = {bits}: the sar_levels converter covers 3"):
        CHIP.with_values({"adc_bits": bits})


def spread(key):
    """Ends of a figure's interval, as shares of it."""
    entry = CHIP.entries[key]
    return entry.low / entry.value, entry.high / entry.value


def measured_over_modelled(ratios):
    shares = [1 / x.ratio for x in ratios]
    return pytest.approx((min(shares), max(shares)), rel=0.015)


def test_intervals_are_the_spread_over_measured_chips():
    family = [validate(load_chip(name)) for name in ("yao_2024", "li_2025", "wei_2025")]
    energies = measured_over_modelled([x for chip in family for x in chip.energies])
    for key in ("row_cell_energy", "sar_bit_energy", "sar_level_energy"):
        assert spread(key) == energies
    areas = [validate(load_chip(name)).area for name in ("neurram", "yao_2024", "li_2025")]
    assert spread("driver_area") == measured_over_modelled(areas)
