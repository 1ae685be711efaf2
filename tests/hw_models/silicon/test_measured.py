"""Files of measured chips: what they hold, and what is refused."""

import re

import pytest

from hw_models import ProfileError
from hw_models.silicon.measured import FOLDER, known_chips, load_chip, read_chip

TEXT = """
title = "A"
group = "A"
source = "B, table 1"
notes = ""
[structure]
node = 28
device = "rram"
sensing = "clamp"
rows = 8
sums = 4
cells_per_sum = 2
cell_area = 50
coding = "levels"
bits_per_read = 1
converter = "sar"
converters = 4
[[points]]
name = "first"
supply = 0.9
input_bits = 1
output_bits = 4
energy = 3
"""


def read(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return read_chip(path)


def test_a_file_with_everything_that_is_needed(tmp_path):
    chip = read(tmp_path, TEXT)
    assert chip.name == "mine"
    assert chip.macro.cells == 64
    assert chip.area_mm2 is None
    (point,) = chip.points
    assert (point.energy_pJ, point.latency_ns, dict(point.split_pJ)) == (3, None, {})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("node = 28\n", "", "mine.toml: structure: missing node"),
        ("node = 28", "node = 2", "structure: node = 2: a number in 5..350 nm is needed"),
        ("node = 28", 'node = "28"', "structure: node = '28': a number is needed"),
        ("rows = 8", "rows = 8.5", "structure: rows = 8.5: a whole number in 1..65536 count"),
        ('"clamp"', '"clmap"', "sensing = 'clmap': one of clamp, follower, line, charge, digital"),
        ("cell_area", "cel_area", "unknown 'cel_area', did you mean 'cell_area'?"),
        ("supply = 0.9", "supply = nan", "mine.toml: point 1: supply = nan: a number in 0.3..5 V"),
        ("energy = 3", "energy = 0", "point 1: energy = 0: a number in 1e-06..1e+09 pJ"),
        ("energy = 3", "split = { wires = 1 }", "point 1: split: unknown 'wires'"),
        ("energy = 3", "power = 3", "point 1: unknown 'power'"),
        ("[structure]", "[processor]", "mine.toml: processor: unknown 'device'"),
        ("[structure]", "[reasons]", "mine.toml: missing [structure] or [processor]"),
        (
            "[[points]]",
            "[processor]\nnode = 28\n[[points]]",
            "mine.toml: [structure] or [processor], not both",
        ),
        ("[[points]]", "[reasons]\nenrgy = 'x'\n[[points]]", "mine.toml: reasons: unknown 'enrgy'"),
        (
            "[[points]]",
            "[reasons]\nenergy = 1\n[[points]]",
            "mine.toml: reasons: energy = 1: text is needed",
        ),
        ('group = "A"', 'group = "C"', "mine.toml: group: unknown 'C'"),
        ('title = "A"', "title = 1", "mine.toml: title = 1: text is needed"),
        ('source = "B, table 1"\n', "", "mine.toml: missing source"),
        ('name = "first"', "name = 5", "point 1: name = 5: text is needed"),
        ("[[points]]", "[points]", "points = {'name': 'first'"),
        ("[structure]", "[structure", "mine.toml: line 6"),
    ],
)
def test_a_wrong_figure_is_one_line_that_names_it(tmp_path, old, new, message):
    assert old in TEXT
    with pytest.raises(ProfileError, match=re.escape(message)) as caught:
        read(tmp_path, TEXT.replace(old, new))
    assert "\n" not in str(caught.value)


def test_an_unknown_chip_names_the_known_ones():
    with pytest.raises(ProfileError, match="measured chip: unknown 'neuram', did you mean 'neurr"):
        load_chip("neuram")


@pytest.mark.parametrize("name", known_chips())
def test_every_chip_names_its_source_and_has_a_measured_energy(name):
    chip = load_chip(name)
    assert len(chip.source) > 40
    assert chip.title
    assert any(m.energy_pJ for m in chip.points)
    assert (FOLDER / f"{name}.toml").is_file()


@pytest.mark.parametrize("name", known_chips())
def test_measured_parts_are_no_more_than_the_measured_whole(name):
    for m in load_chip(name).points:
        if m.energy_pJ and m.split_pJ:
            assert sum(m.split_pJ.values()) <= 1.03 * m.energy_pJ
