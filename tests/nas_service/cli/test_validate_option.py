"""`nas cost --validate`: the model beside measured chips."""

import pytest
from command_line import document, refused, run

from hw_models.silicon.measured import known_chips


def test_all_chips_in_one_table(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("cost", "--validate").output.splitlines()
    assert max(map(len, lines)) <= 80
    for name in known_chips():
        assert sum(name in line.split() for line in lines) == 1
    assert any(line.startswith("Energy is within 0.5 .. 2 times the measurement") for line in lines)
    missed = "jia_2020, latency: 0.13 .. 0.23 times the measurement, outside of 0.5 .. 2"
    assert any(line.startswith(missed) for line in lines)


@pytest.mark.parametrize("name", known_chips())
def test_no_line_of_a_chip_is_wider_than_80_characters(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, run("cost", "--validate", name).output.splitlines())) <= 80


def test_one_chip_with_its_source():
    output = run("cost", "--validate", "neurram").output
    assert "8-bit input, 10-bit output energy pJ" in " ".join(output.split())
    assert "Wan et al., Nature" in output
    assert "latency: 0.94 .. 1.01 times the measurement, within 0.5 .. 2" in output
    assert "group A: shared constants were chosen with it" in output


def test_as_json():
    everything = document("cost", "--validate", "--json")
    assert [chip["chip"] for chip in everything["chips"]] == known_chips()
    assert everything["summary"]["energy"][1] == 8
    one = document("cost", "--validate", "wei_2025", "--json")
    assert set(one) == {"chips"}
    assert one["chips"][0]["area"] is None
    assert one["chips"][0]["verdicts"]["latency"].startswith("latency: 0.80 times")


def test_bad_input_is_one_line(tmp_path):
    net = tmp_path / "net.json"
    net.write_text("{}")
    assert "measured chip: unknown 'neuram'" in refused("cost", "--validate", "neuram")
    assert "without" in refused("cost", net, "--validate", "neurram")
    assert "Missing argument 'FILE'" in refused("cost")
