"""Chip profiles: units become SI, and a file that is not sound is refused by key."""

import copy
import json
import tomllib

import pytest

from hw_models import Layer, ProfileError, Workload, known_profiles, load_profile
from hw_models.profile import FOLDER, SCHEMA

TREE = tomllib.loads((FOLDER / "spikesim_rram.toml").read_text(encoding="utf-8"))
CHIP = load_profile("spikesim_rram")


def write(tree, path):
    """Enough of TOML for a profile: text is quoted as in JSON."""
    lines = [f"{k} = {_toml(v)}" for k, v in tree.items() if k != "values"]
    if isinstance(tree.get("values"), dict):
        lines += ["[values]", *(f"{k} = {_toml(v)}" for k, v in tree["values"].items())]
    elif "values" in tree:
        lines.append(f"values = {_toml(tree['values'])}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    return str(value) if isinstance(value, float) else json.dumps(value)


def changed(path, value):
    """The shipped profile with one entry replaced, or removed where the value is `...`."""
    tree = copy.deepcopy(TREE)
    *inner, last = path
    place = tree
    for key in inner:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return tree


def test_written_profile_is_the_shipped_one(tmp_path):
    again = load_profile(write(TREE, tmp_path / "spikesim_rram.toml"))
    assert again.values == CHIP.values
    assert again.digest == CHIP.digest
    assert set(again.sources) == set(SCHEMA)


def test_units_become_si():
    """250 MHz, 2.03084 pJ, 693.633 um2."""
    assert CHIP.chip.clock_Hz == 250e6
    assert CHIP.chip.adc_energy_J == pytest.approx(2.03084e-12, rel=1e-12)
    assert CHIP.chip.adc_area_m2 == pytest.approx(693.633e-12, rel=1e-12)
    assert CHIP.chip.crossbar_size == 64
    assert type(CHIP.chip.crossbar_size) is int


def entry(key, field, value):
    return changed(("values", key, field), value)


WRONG = [
    (changed(("title",), ...), "missing title"),
    (changed(("values",), ...), "missing values"),
    (changed(("values",), 3), "values: a table is needed"),
    (changed(("title",), 3), "title = 3: text is needed"),
    (changed(("model",), "isaac"), "model = 'isaac'"),
    (changed(("licence",), ...), "missing licence"),
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
    (entry("crossbar_size", "value", 0), "crossbar_size = 0: a whole number in 1..65536 cells"),
    (entry("crossbar_size", "value", 64.5), "crossbar_size = 64.5: a whole number"),
    (entry("pes_per_tile", "value", -8), "pes_per_tile = -8"),
    (entry("columns_per_adc", "value", 65537), "columns_per_adc = 65537"),
]


@pytest.mark.parametrize(("tree", "said"), WRONG, ids=[said for _, said in WRONG])
def test_unsound_profiles_name_the_key(tmp_path, tree, said):
    with pytest.raises(ProfileError) as caught:
        load_profile(write(tree, tmp_path / "chip.toml"))
    assert said in str(caught.value)
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


def test_unknown_name_tells_the_known():
    assert known_profiles() == ["spikesim_rram"]
    with pytest.raises(ProfileError, match="did you mean 'spikesim_rram'"):
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
    assert fast.with_values({"clock": 250}).digest == CHIP.digest


@pytest.mark.parametrize(
    ("changes", "said"),
    [
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
def test_wrong_values_name_the_key(changes, said):
    with pytest.raises(ProfileError) as caught:
        CHIP.with_values(changes)
    assert said in str(caught.value)
