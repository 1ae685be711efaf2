"""Figures at another supply voltage: laws by hand, what is scaled, and what is refused."""

import json

import pytest

from hw_models import Layer, ProfileError, Workload, load_profile
from hw_models.calibration.profile_writer import _entry
from hw_models.supply_scaling import factor, slowdown

CHIP = load_profile("rram_28nm")
WORK = Workload((Layer("a", "conv", 6, 10, kernel=3, in_size=4, out_size=4, spike_rate=0.2),), 2)


def own(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_profile(path)


def test_laws_by_hand():
    assert factor("energy", 0.6, 0.9) == pytest.approx(4 / 9)
    assert slowdown(0.8, 0.8) == 1
    assert factor("delay", 1.05, 0.7) == pytest.approx(1.5 * 0.5**1.3)


def test_figures_with_a_supply_are_scaled_and_say_so():
    low = CHIP.with_values({"supply": "0.6"})
    for key in ("row_cell_energy", "sar_bit_energy", "sar_level_energy"):
        assert low.values[key] == pytest.approx(CHIP.values[key] * 4 / 9)
        assert low.entries[key].low == pytest.approx(CHIP.entries[key].low * 4 / 9)
        assert low.scaled[key] == "energy x 0.444 from 0.9 V"
    assert low.values["sar_bit_delay"] == pytest.approx(0.640 * factor("delay", 0.6, 0.8))
    for key in ("cell_area", "on_resistance", "wire_bit_energy", "clock"):
        assert low.values[key] == CHIP.values[key]
        assert key not in low.scaled
    assert low.scaled["sram_bit_energy"] == (
        "28 nm, energy x 0.587 from 45 nm (DeepScaleTool); energy x 0.444 from 0.9 V"
    )
    before, after = (chip.estimate(WORK).metrics() for chip in (CHIP, low))
    assert after["energy_uJ"] < before["energy_uJ"]
    assert after["latency_ms"] > before["latency_ms"]
    assert after["area_mm2"] == before["area_mm2"]


def test_one_supply_after_another_is_the_last():
    twice = CHIP.with_values({"supply": 0.6}).with_values({"supply": 0.9})
    assert twice.values["sar_bit_energy"] == pytest.approx(CHIP.values["sar_bit_energy"])
    assert twice.digest != CHIP.digest, "delays hold at 0.8 V without it"


def test_a_figure_that_is_set_is_not_scaled():
    chip = CHIP.with_values({"sar_bit_energy": 0.05, "supply": 0.6})
    assert chip.values["sar_bit_energy"] == 0.05
    assert "sar_bit_energy" not in chip.scaled
    assert chip.with_values({"supply": 0.7}).values["sar_bit_energy"] == 0.05


def test_a_file_may_ask_for_a_supply(tmp_path):
    chip = own(tmp_path, 'base = "rram_28nm"\n[supply]\nV = 0.6\n')
    assert chip.values == CHIP.with_values({"supply": 0.6}).values
    assert "supply = 0.6" in _entry("sar_bit_energy", chip.entries["sar_bit_energy"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[supply]\nV = 0.3\n", "supply = 0.3: a number in 0.55..1.2 V is needed"),
        ("[supply]\nV = 1.3\n", "supply = 1.3: a number in 0.55..1.2 V is needed"),
        ("[supply]\nvolts = 1\n", "mine.toml: supply: unknown 'volts'"),
        ("supply = 0.8\n", "mine.toml: supply: a table is needed, not 0.8"),
        (
            '[values]\nclock = { value = 1, unit = "MHz", source = "x", supply = 1 }\n',
            "clock: supply: figures in pJ, ns depend on one, not 'MHz'",
        ),
        (
            '[values]\nsar_bit_energy = { value = 1, unit = "pJ", source = "x", supply = 0.35 }\n',
            "sar_bit_energy: supply = 0.35: a number in 0.36..5 V is needed",
        ),
    ],
)
def test_wrong_supplies_are_one_line(tmp_path, text, message):
    with pytest.raises(ProfileError) as caught:
        own(tmp_path, f'base = "rram_28nm"\n{text}')
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_chip_none_of_whose_figures_says_its_supply_has_none(tmp_path):
    tree = {key: entry.value for key, entry in CHIP.entries.items() if entry.supply is not None}
    chip = CHIP.with_values(tree)
    with pytest.raises(ProfileError, match="supply: no figure says the supply at which it holds"):
        chip.with_values({"supply": 0.8})
    assert json.dumps(chip.scaled)
