"""A chip of one's own: a few lines on top of a base, and settings that do nothing are named."""

import re
from pathlib import Path

import pytest

from hw_models import Layer, ProfileError, Workload, load_profile
from hw_models.effects import limits

CHIP = load_profile("corrected")
THREE_LINES = 'base = "corrected"\n[values]\ncrossbar_size = 128\n'
WORK = Workload((Layer("a", "conv", 3, 8, kernel=3, in_size=8, out_size=8),), 2)
PAGE = Path(__file__).parents[2] / "docs" / "cost-model.md"


def own(tmp_path, text, name="mine.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return load_profile(path)


def test_three_lines_are_a_profile(tmp_path):
    profile = own(tmp_path, THREE_LINES)
    assert profile.settings == CHIP.with_values({"crossbar_size": 128}).settings
    assert profile.ranges == CHIP.ranges
    assert profile.estimate(WORK).profile == "mine"
    assert profile.entries["crossbar_size"].source == "set in mine.toml, 64 in corrected"
    assert profile.head["title"] == f"{CHIP.head['title']}, changed in mine.toml"
    for key in ("node", "licence", "source"):
        assert profile.head[key] == CHIP.head[key]
    assert profile.head["notes"].startswith("Based on corrected: title, model, node")


def test_a_figure_of_three_lines_has_no_interval_and_keeps_its_bounds(tmp_path):
    profile = own(tmp_path, 'base = "corrected"\ntitle = "Fast"\n[values]\nclock = 500\n')
    assert "clock" not in profile.ranges
    assert profile.head["title"] == "Fast"
    assert own(tmp_path, 'base = "corrected"\n').settings == CHIP.settings
    near = 'base = "mine.toml"\n[switches]\nlast_halt = true\n[options]\nadc = "flash"\n'
    assert own(tmp_path, near, "near.toml").switches["last_halt"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (THREE_LINES.replace("128", "2048"), "crossbar_size = 2048.*in 16..1024 cells"),
        (THREE_LINES.replace("128", "true"), "crossbar_size = True"),
        (THREE_LINES.replace("128", '"128"'), "crossbar_size = '128': a number is needed"),
        (THREE_LINES.replace("128", "{ value = 128 }"), "crossbar_size: missing source, unit"),
        (THREE_LINES.replace("base", "bass"), r"unknown 'bass', did you mean 'base'.*known: base,"),
        (THREE_LINES.replace("[values]", "values = 3\n[options]"), "values: a table is needed"),
        ("[values]\ncrossbar_size = 128\n", 'missing licence.*or base = "rram_28nm"'),
        (THREE_LINES + "[values.clock]\n", "clock: missing source, unit, value"),
        ('base = "corrected"\nmodel = "x"', "model = 'x': known is 'crossbar'"),
        ('base = "correctd"', r"mine.toml: base: unknown 'correctd', did you mean 'corrected'"),
        ('base = "none.toml"', r"mine.toml: base .*none.toml: cannot be read"),
        ('base = "corrected"\nclock = 500', r"mine.toml: clock: .* after \[values\] is needed"),
        ('base = "corrected"\nadc = "sar"', r"mine.toml: adc: .* after \[options\] is needed"),
    ],
)
def test_wrong_profiles(tmp_path, text, message):
    with pytest.raises(ProfileError, match=message):
        own(tmp_path, text)


def test_the_example_of_the_page_is_a_profile(tmp_path):
    (text,) = re.findall(r"```\n(base = .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert own(tmp_path, text).values["crossbar_size"] == 128


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"clock": 500}, None),
        ({"clock": 768}, None),
        ({"clock": 2000}, r"clock = 2000: the sar converter limits .* 4.23 ns .* clock = 768 MHz"),
        ({"clock": 2000, "adc": "fixed"}, None),
        ({"clock": 2000, "adc_bits": 2}, "clock = 2000: .* 2.12 ns a column at 2 bits"),
        ({"clocks_per_read": 1}, "the sar converter limits"),
        ({"columns_per_adc": 64}, None),
        ({"columns_per_adc": 65}, "columns_per_adc = 65: costed as 64, the columns of an array"),
        ({"pes_per_tile": 8}, "pes_per_tile = 8: the chip has this value already"),
        ({"pes_per_tile": "8"}, "has this value already, nothing changes"),
        ({"clock": 250}, "has this value already, it only has no range any more"),
        ({"adc_energy": 3}, "adc_energy = 3: .* it does with adc = fixed or adc = flash"),
        ({"adc_energy": 3, "adc": "fixed"}, None),
        ({"dac_bit_energy": 3}, "changes nothing of this network"),
        ({"neuron_energy": 3}, "it does with neuron_per_read = true"),
        ({"stuck_on": 0.1}, "only the accuracy on simulated chips"),
        ({"tile_contention": "serialised"}, "it does with tile_sharing = true"),
        ({"crossbar_size": 128}, None),
        ({"adc": "fixed", "adc_bits": 16}, None),  # no sar converter has 16 bits
    ],
)
def test_a_setting_without_effect_says_why(changes, expected):
    notes = limits(CHIP, changes, Workload((*WORK.layers, Layer("f", "linear", 512, 40)), 2))
    if expected is None:
        assert notes == []
    else:
        assert re.search(expected, " ".join(notes)), notes
