"""Chip profiles: units become SI, and a file that is not sound is refused by key."""

import json
import tomllib

import json_trees
import pytest

from hw_models import Layer, ProfileError, Workload, known_profiles, load_profile
from hw_models.parameters import CHOICES, DEFECTS, SCHEMA
from hw_models.profile_file import FOLDER

TREE = tomllib.loads((FOLDER / "corrected.toml").read_text(encoding="utf-8"))
CHIP = load_profile("corrected")
PARTS = ("values", "options", "switches")


def write(tree, path):
    """Enough of TOML for a profile: text is quoted as in JSON."""
    lines = [f"{k} = {_toml(v)}" for k, v in tree.items() if k not in PARTS]
    for part in [part for part in PARTS if part in tree and not isinstance(tree[part], dict)]:
        lines.append(f"{part} = {_toml(tree[part])}")
    for part in [part for part in PARTS if isinstance(tree.get(part), dict)]:
        lines += [f"[{part}]", *(f"{k} = {_toml(v)}" for k, v in tree[part].items())]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    return str(value) if isinstance(value, float) else json.dumps(value)


def changed(path, value):
    """The shipped profile with one entry replaced, or removed where the value is `...`."""
    return json_trees.changed(TREE, path, value)


def test_written_profile_is_the_shipped_one(tmp_path):
    again = load_profile(write(TREE, tmp_path / "corrected.toml"))
    assert again == CHIP
    assert again.digest == CHIP.digest
    assert set(again.entries) == set(SCHEMA)


@pytest.mark.parametrize("name", known_profiles())
def test_every_number_has_a_source(name):
    profile = load_profile(name)
    assert set(profile.settings) == {*SCHEMA, *CHOICES, *DEFECTS}
    for key, entry in profile.entries.items():
        texts = (entry.source, entry.node, entry.licence)
        assert all(len(text) > 3 for text in texts), (key, texts)
        assert "tbd" not in " ".join(texts)


def test_the_eighteen_defects_are_switches():
    """All off in the corrected chip; in the script's two all on but those of another device and
    of an older version."""
    assert sorted(int(d[1:]) for d, _ in DEFECTS.values()) == list(range(1, 19))
    assert not any(CHIP.switches.values())
    off = {
        name: [k for k, on in load_profile(name).switches.items() if not on]
        for name in ("spikesim_rram", "spikesim_sram")
    }
    assert off == {
        "spikesim_rram": ["energy_is_area", "time_twice"],
        "spikesim_sram": ["time_twice"],
    }


def test_missing_entries_come_from_the_base_profile(tmp_path):
    head = {key: TREE[key] for key in ("title", "model", "node", "licence", "source", "notes")}
    own_profile = head | {
        "base": "corrected",
        "values": {},
        "options": {"adc": "flash"},
        "switches": {},
    }
    profile = load_profile(write(own_profile, tmp_path / "mine.toml"))
    assert profile.options == {**CHIP.options, "adc": "flash"}
    assert profile.values == CHIP.values
    near = head | {"base": "mine.toml", "values": {}, "options": {}, "switches": {}}
    assert load_profile(write(near, tmp_path / "near.toml")).options["adc"] == "flash"


@pytest.mark.parametrize(
    ("base", "message"),
    [("self.toml", "more than 8 bases"), (3, "base = 3"), ("corected", "did you mean 'corrected'")],
)
def test_wrong_bases(tmp_path, base, message):
    tree = {**TREE, "base": base}
    with pytest.raises(ProfileError, match=message):
        load_profile(write(tree, tmp_path / "self.toml"))


def test_units_become_si():
    """250 MHz, 2.03084 pJ, 693.633 um2."""
    figures = CHIP.chip.figures
    assert figures.clock_Hz == 250e6
    assert figures.adc_energy_J == pytest.approx(2.03084e-12, rel=1e-12)
    assert figures.adc_area_m2 == pytest.approx(693.633e-12, rel=1e-12)
    assert figures.crossbar_size == 64
    assert type(figures.crossbar_size) is int


def entry(key, field, value):
    return changed(("values", key, field), value)


def ranged(key, low, high):
    tree = entry(key, "low", low)
    tree["values"][key]["high"] = high
    return tree


WRONG = [
    (changed(("title",), ...), "missing title"),
    (changed(("values",), ...), "missing values"),
    (changed(("values",), 3), "values: a table is needed"),
    (changed(("title",), 3), "title = 3: text is needed"),
    (changed(("model",), "isaac"), "model = 'isaac'"),
    (changed(("licence",), ...), "missing licence"),
    (changed(("options",), ...), "missing options"),
    (changed(("options", "adc"), ...), "options: missing adc"),
    (changed(("options", "adc"), "ramp"), "adc = 'ramp': one of fixed, flash, sar"),
    (changed(("options", "adcs"), "sar"), "unknown 'adcs', did you mean 'adc'?"),
    (changed(("switches", "last_halt"), ...), "switches: missing last_halt"),
    (changed(("switches", "last_halt"), 1), "last_halt = 1: true or false"),
    (changed(("switches", "lasthalt"), True), "did you mean 'last_halt'?"),
    (entry("adc_energy", "low", 1.0), "low and high belong together"),
    (changed(("values", "clock", "node"), ""), "clock: node = ''"),
    (changed(("sorce",), "x"), "unknown 'sorce', did you mean 'source'?"),
    (changed(("values", "clock"), ...), "values: missing clock"),
    (changed(("values", "clock"), 250), "clock: a table is needed, not 250"),
    (changed(("values", "adc_enrgy"), {}), "unknown 'adc_enrgy', did you mean 'adc_energy'?"),
    (entry("clock", "unit", ...), "clock: missing unit"),
    (entry("clock", "source", ...), "clock: missing source"),
    (entry("clock", "value", ...), "clock: missing value"),
    (entry("clock", "unit", "GHz"), "clock: unit = 'GHz': 'MHz' is needed"),
    (entry("adc_area", "unit", "mm2"), "adc_area: unit = 'mm2': 'um2' is needed"),
    (entry("adc_energy", "unit", 1), "adc_energy: unit = 1"),
    (entry("adc_energy", "source", " "), "adc_energy: source"),
    (entry("adc_energy", "source", 7), "adc_energy: source"),
    (entry("adc_energy", "sources", "x"), "did you mean 'source'?"),
    (entry("adc_energy", "value", -1.0), "adc_energy = -1.0"),
    (entry("adc_energy", "value", float("nan")), "adc_energy = nan"),
    (entry("adc_energy", "value", float("inf")), "adc_energy = inf"),
    (entry("adc_energy", "value", "2.0"), "adc_energy = '2.0'"),
    (entry("adc_energy", "value", True), "adc_energy = True"),
    (entry("adc_energy", "value", [1]), "adc_energy = [1]"),
    (entry("clock", "value", 0), "clock = 0"),
    (ranged("adc_energy", 3.0, 4.0), "low = 3 and high = 4 must enclose it"),
    (ranged("adc_energy", -1.0, 4.0), "adc_energy: low = -1.0"),
    (ranged("crossbar_size", 32, 128), "a range is not possible here"),
    (entry("clock", "fitted", [300, 400]), "fitted = [300, 400]"),
    (entry("clock", "fitted", [100]), "fitted = [100]"),
    (entry("crossbar_size", "value", 0), "crossbar_size = 0: a whole number in 1..65536 cells"),
    (entry("crossbar_size", "value", 64.5), "crossbar_size = 64.5: a whole number"),
    (entry("pes_per_tile", "value", -8), "pes_per_tile = -8"),
    (entry("columns_per_adc", "value", 65537), "columns_per_adc = 65537"),
]


@pytest.mark.parametrize(("tree", "message"), WRONG, ids=[message for _, message in WRONG])
def test_unsound_profiles_name_the_key(tmp_path, tree, message):
    with pytest.raises(ProfileError) as caught:
        load_profile(write(tree, tmp_path / "chip.toml"))
    assert message in str(caught.value)
    assert "chip.toml" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ProfileError, match=r"absent\.toml"):
        load_profile(tmp_path / "absent.toml")
    (tmp_path / "broken.toml").write_text("clock = ")
    with pytest.raises(ProfileError, match=r"broken\.toml"):
        load_profile(tmp_path / "broken.toml")
    (tmp_path / "latin.toml").write_bytes(b'title = "\xff"')
    with pytest.raises(ProfileError, match=r"latin\.toml"):
        load_profile(tmp_path / "latin.toml")


def test_an_unknown_name_lists_the_known_ones():
    assert known_profiles() == ["corrected", "rram_28nm", "spikesim_rram", "spikesim_sram"]
    with pytest.raises(ProfileError, match="did you mean 'spikesim_sram'"):
        load_profile("spikesim_ram")


def test_with_values_changes_that_and_nothing_else():
    """Twice the clock halves the latency; text is read as a number, as from a command line."""
    fast = CHIP.with_values({"clock": "500"})
    work = Workload((Layer("a", "linear", 8, 8),), 2)
    slow_report, fast_report = CHIP.estimate(work), fast.estimate(work)
    assert slow_report.latency_s.total == pytest.approx(2 * fast_report.latency_s.total, rel=1e-12)
    assert slow_report.energy_J == fast_report.energy_J
    assert CHIP.values["clock"] == 250
    assert fast.digest != CHIP.digest
    assert fast.with_values({"clock": 250}).digest == CHIP.with_values({"clock": 250}).digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crossbar_size": 2048}, "crossbar_size = 2048: a whole number in 16..1024"),
        ({"adc_bits": 13}, "adc_bits = 13: the sar converter covers 1..12"),
        ({"adc": "flash", "adc_bits": 9}, "adc_bits = 9: the flash converter covers 1..8"),
        ({"adc": "ramp"}, "adc = 'ramp': one of fixed, flash, sar"),
        ({"last_halt": "yes"}, "last_halt = 'yes': true or false"),
        ({"off_resistance": 1}, "off_resistance = 1 kOhm: at least on_resistance"),
        ({"clok": 1}, "did you mean 'clock'"),
        ({"clock": "fast"}, "clock = 'fast': a number"),
        ({"clock": -1}, "clock = -1"),
        ({"clock": None}, "clock = None"),
        ({"clock": "nan"}, "clock = 'nan'"),
        ({"crossbar_size": 64.5}, "crossbar_size = 64.5"),
        ({"crossbar_size": False}, "crossbar_size = False"),
        ({"pes_per_tile": 10**400}, "pes_per_tile = 1000"),
    ],
)
def test_wrong_values_name_the_key(changes, message):
    with pytest.raises(ProfileError) as caught:
        CHIP.with_values(changes)
    assert message in str(caught.value)


def test_switches_are_read_from_text():
    assert CHIP.with_values({"tile_sharing": "true"}).switches["tile_sharing"] is True
    assert CHIP.with_values({"tile_sharing": False}).digest == CHIP.digest


def test_a_figure_that_is_set_has_no_interval():
    key = next(iter(CHIP.ranges))
    assert key not in CHIP.with_values({key: CHIP.values[key]}).ranges
