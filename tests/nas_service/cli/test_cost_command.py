"""`nas cost`, `nas census`, `nas calibrate` as a user calls them."""

import json
from pathlib import Path

import pytest
from command_line import document, run

from hw_models import load_profile

LIST = {
    "time_steps": 5,
    "layers": [
        {"kind": "conv", "in_channels": 3, "out_channels": 64, "kernel": 3, "stride": 1,
         "in_size": 32, "out_size": 32, "pool": 1, "spike_rate": 0.1},
        {"kind": "linear", "in_features": 4096, "out_features": 10},
    ],
}  # fmt: skip
STUDY = str(Path(__file__).parents[3] / "studies" / "digits.toml")
CORRECTED = "--profile", "corrected"  # its clock limits the latency, in the default chip converters


@pytest.fixture
def layers(tmp_path):
    path = tmp_path / "net.json"
    path.write_text(json.dumps(LIST))
    return str(path)


def test_a_layer_list_with_intervals(layers):
    result = document("cost", layers)
    for name, value in result["metrics"].items():
        low, high = result["intervals"][name]
        assert low <= high
        assert name in ("area_mm2", "throughput_per_s") or low <= value <= high
    assert result["profile_digest"] == load_profile("rram_28nm").digest
    text = run("cost", layers).output
    assert "90 % interval" in text
    areas = result["area_mm2_by_tiles"]
    assert result["metrics"]["area_mm2"] == areas["used"] < areas["whole"]
    assert f"{areas['used']:.2f} mm2 of what is used, {areas['whole']:.2f} mm2 of whole" in text
    assert "layer0" in text


def test_a_setting_from_the_command_line(layers):
    plain, shared = (
        document("cost", layers, "--profile", "spikesim_rram", *more)["metrics"]
        for more in ((), ("--set", "pooled_sizes=false", "--set", "adc_bits=6"))
    )
    assert plain["crossbars"] == shared["crossbars"]
    result = run("cost", layers, "--set", "mapping=diagonal")
    assert result.exit_code == 2
    assert "one of kernel_split, im2col" in result.output


def test_the_difference_of_two_chips(layers):
    result = document("cost", layers, "--diff", "spikesim_rram", "corrected")
    assert [s["defect"] for s in result["steps"]][:2] == ["D1", "D2"]
    moved = sum(s["change"]["energy_uJ"] for s in result["steps"])
    assert result["before"]["energy_uJ"] + moved == pytest.approx(result["after"]["energy_uJ"])
    text = run("cost", layers, "--diff", "spikesim_rram", "corrected").output
    assert "one_cell_per_weight" in text
    assert max(map(len, text.splitlines())) <= 80


def test_how_likely_a_budget_holds(layers):
    low, high = document("cost", layers)["intervals"]["energy_uJ"]
    result = document(
        "cost", layers, "--budget", f"energy_uJ={low}", "--budget", f"energy_uJ={high}"
    )
    assert [b["probability"] for b in result["budgets"]] == pytest.approx([0.05, 0.95], abs=0.002)
    assert "of the chips" in run("cost", layers, "--budget", f"energy_uJ={high}").output
    for wrong, output in [("energy=1", "did you mean"), ("energy_uJ=x", "a number is needed")]:
        assert output in run("cost", layers, "--budget", wrong).output


@pytest.mark.training
def test_an_architecture_brings_its_chip(tmp_path):
    cell = dict.fromkeys(("01", "02", "03", "12", "13", "23"), "skip")
    sizes = {"channels": 8, "head_pool": 2, "hidden": 32, "time_steps": 2, "weight_bits": 8}
    result = []
    for size in (32, 128):
        path = tmp_path / f"a{size}.json"
        chip = {"chip": {"crossbar_size": size}}
        path.write_text(json.dumps({"cells": [cell, cell], **sizes, **chip}))
        result.append(document("cost", path, "--study", STUDY)["metrics"]["crossbars"])
    assert result[0] > result[1]


def test_markdown_and_page(layers, tmp_path):
    page = tmp_path / "net.html"
    result = run("cost", layers, "--markdown", "--html", page)
    assert result.exit_code == 0
    assert "| layer0 |" in result.stdout
    text = page.read_text()
    assert text.count("<figure") == 4
    assert "default-src &#39;none&#39;" in text
    assert "layer0" in text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "line 1, column 2: not JSON: a key"),
        ("a.json", "[]", "a table is needed"),
        ("a.nir", "x", "time steps"),
        ("a.json", '{"cells": []}', "needs --study"),
    ],
)
def test_wrong_files(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    result = run("cost", tmp_path / name)
    assert (result.exit_code, message in result.output) == (2, True), result.output


@pytest.mark.training
def test_census_of_a_study():
    result = document("census", STUDY, "--limit", 500)
    assert result["candidates"] == 500
    budgets = {"parameters", "area_mm2", "latency_ms", "energy_uJ"}
    assert set(result["within"]) == {*budgets, "training.memory_GiB"}
    assert "everything" in run("census", STUDY, "--limit", 500).output


def test_candidates_of_a_large_space_are_listed_from_random_ones(tmp_path):
    """In the order of the space the first ones have no path from input to output, for minutes."""
    path = tmp_path / "s.toml"
    path.write_text(Path(STUDY).read_text())
    done = run("census", path, "--list", 3, "--limit", 300)
    assert (done.exit_code, done.stderr) == (0, "")
    listed = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(listed) == 3
    assert len({line["time_steps"] for line in listed} | {str(x) for x in listed}) > 3
    assert run("census", path, "--list", 3, "--limit", 300).stdout == done.stdout
    assert run("census", path, "--list", 3, "--limit", 300, "--seed", 1).stdout != done.stdout
    few = run("census", path, "--list", 300, "--limit", 20)
    assert few.exit_code == 0
    assert f"note: {len(few.stdout.splitlines())} of 300 architectures" in few.stderr
    assert len(few.stderr.splitlines()) <= 3


def test_calibrate(layers, tmp_path):
    chip = load_profile("corrected").with_values({"clock": 500})
    from hw_models import Workload

    latency = chip.estimate(Workload.from_json(LIST)).metrics()["latency_ms"]
    table = tmp_path / "m.csv"
    table.write_text(f"workload,latency_ms\nnet.json,{latency}\nnet.json,{latency}\n")
    output = tmp_path / "mine.toml"
    result = document("calibrate", table, *CORRECTED, "--fit", "clock", "-o", output)
    assert result["figures"][0]["after"] == pytest.approx(500, rel=1e-3)
    assert document("cost", layers, "--profile", output)["metrics"]["latency_ms"] == pytest.approx(
        latency, rel=1e-3
    )
    again = run("calibrate", table, *CORRECTED, "-o", output)
    assert (again.exit_code, "--force" in again.output) == (2, True)
    printed = run("calibrate", table, *CORRECTED, "--fit", "clock", "-o", output, "--force").output
    assert "90 % interval" in printed


def test_calibrate_names_what_contradicts_and_writes_nothing_that_fits_nothing(layers, tmp_path):
    output, table = tmp_path / "mine.toml", tmp_path / "m.csv"
    rows = ["workload;latency_ms", *(f"net.json;{y}" for y in ("2,0", "2,02", "1,98", "2,01"))]
    table.write_text("\n".join([*rows, "net.json;2000"]))
    done = run("calibrate", table, *CORRECTED, "--fit", "clock", "-o", output)
    assert (done.exit_code, output.exists()) == (0, True), done.exception
    assert "measurement net.json, line 6 contradicts the others" in done.stderr
    assert "contradicts" in done.stdout
    table.write_text("\n".join([rows[0], "net.json;2,0", "net.json;2000"]))
    output.unlink()
    done = run("calibrate", table, *CORRECTED, "--fit", "clock", "-o", output)
    assert (done.exit_code, output.exists()) == (6, False), done.output
    assert "nothing was fitted" in done.stderr
    assert "not determined by the data" in done.stdout
    done = run("calibrate", table, *CORRECTED, "--fit", "clock", "-o", output, "--json")
    assert (done.exit_code, json.loads(done.stdout)["figures"][0]["identified"]) == (6, False)


def test_calibrate_says_which_metric_it_fits_nothing_to(layers, tmp_path):
    """Energies of twice the model's, and only the clock to fit: it moves the latency alone."""
    metrics = document("cost", layers, *CORRECTED)["metrics"]
    row = f"net.json,{2 * metrics['energy_uJ']},{2 * metrics['latency_ms']}"
    table = tmp_path / "m.csv"
    table.write_text("\n".join(["workload,energy_uJ,latency_ms", row, row]))
    done = run("calibrate", table, *CORRECTED, "--fit", "clock", "-o", tmp_path / "mine.toml")
    assert done.exit_code == 0, done.output
    (line,) = [x for x in done.stderr.splitlines() if "determines no figure" in x]
    assert line == (
        "note: energy_uJ determines no figure, it remains 50 % off: check its unit, or measure more"
    )


@pytest.mark.parametrize("bound", ["1_0", "nan", "inf", "٣", "0x10", ""])
def test_a_budget_is_a_number(layers, bound):
    done = run("cost", layers, "--budget", f"energy_uJ={bound}")
    assert (done.exit_code, "a number is needed" in done.stderr) == (2, True), done.output


@pytest.mark.parametrize("value", ["1_28", "١٢٨", "nan", "1e999"])
def test_a_setting_is_a_number(layers, value):
    done = run("cost", layers, "--set", f"crossbar_size={value}")
    assert (done.exit_code, "crossbar_size = " in done.stderr) == (2, True), done.output


@pytest.mark.parametrize("value", ["1_0", "٣", "²", " 5", "+5"])
def test_whole_numbers_of_options_have_digits_only(layers, value):
    done = run("cost", layers, "--time-steps", value)
    assert (done.exit_code, "is not a whole number" in done.stderr) == (2, True), done.output


def test_digits_of_cells_are_the_operations_of_the_study(tmp_path):
    """2 is conv1x1 to `snasnet5` and conv3x3 to `light3`: nine times the weights of an edge."""
    path, result = tmp_path / "a.json", []
    sizes = {"channels": 8, "head_pool": 2, "hidden": 32, "time_steps": 2, "weight_bits": 8}
    path.write_text(json.dumps({"cells": ["0002 0000 0000 0000"] * 2, **sizes}))
    for operations in ("snasnet5", "light3"):
        study = tmp_path / f"{operations}.toml"
        study.write_text(Path(STUDY).read_text().replace('"snasnet5"', f'"{operations}"'))
        result.append(document("cost", path, "--study", study)["metrics"]["parameters"])
    assert result[1] - result[0] == 8 * (8 * 8 + 16 * 16)
