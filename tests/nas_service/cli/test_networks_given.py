"""Every command that asks for a network takes every file with one, and names what was assumed."""

import json
from pathlib import Path

import nir
import pytest
from command_line import document, refused, run
from nir_graphs import a_graph

from hw_models import load_profile
from nas_service.importers.network_file import Given, read_network
from nas_service.study.loading import load_spec

STUDY = str(Path(__file__).parents[3] / "benchmarks" / "studies" / "digits.toml")
CONV = {"kind": "conv", "in_channels": 2, "out_channels": 8, "kernel": 3}
FLAT = {"kind": "linear", "in_features": 2048, "out_features": 10}
LIST = {"time_steps": 4, "layers": [CONV, FLAT]}
CELL = dict.fromkeys(("01", "02", "03", "12", "13", "23"), "skip") | {"01": "conv1x1"}
ARCHITECTURE = {
    "cells": [CELL, CELL], "channels": 8, "head_pool": 2, "hidden": 32, "time_steps": 2,
    "weight_bits": 4,
}  # fmt: skip


@pytest.fixture
def files(tmp_path):
    """A network in every kind of file, and the options that it needs."""
    rates = dict.fromkeys(layer_names(), 0.25)
    trial = {"architecture": ARCHITECTURE, "seed": 3, "spike_rates": rates, "outcome": "trained"}
    documents = {"list": LIST, "architecture": ARCHITECTURE, "trial": trial}
    for name, content in documents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    nir.write(str(tmp_path / "graph.nir"), a_graph())
    return tmp_path


def layer_names():
    from nas_service.data import source_of
    from nas_service.snn.trace import trace
    from nas_service.spaces.architecture import Architecture

    task = source_of(load_spec(Path(STUDY)).data).task
    return [x.name for x in trace(Architecture.from_json(ARCHITECTURE), task).layers]


KINDS = {
    "list.json": ("--input", "2,16,16"),
    "architecture.json": ("--study", STUDY),
    "trial.json": ("--study", STUDY),
    "graph.nir": ("--time-steps", "4"),
}


def test_a_map_that_nobody_gives_is_refused(files):
    message = refused("cost", files / "list.json")
    assert "'layer0': in_size is needed" in message
    assert "--input 2,16,16" in message
    message = refused("cost", files / "list.json", "--input", "3,16,16")
    assert "list.json: layer 'layer0': in_channels = 2, but the input is (3, 16, 16)" in message


def test_every_form_names_what_was_assumed(files):
    arguments = ("cost", files / "list.json", "--input", "2,16,16")
    page = files / "net.html"
    texts = [run(*arguments, "--html", page).stdout, run(*arguments, "--markdown").stdout]
    for text in (*texts, page.read_text()):
        for figure in ("weight_bits = 8", "spike_rate = 1.0", "input_bits = 1", "out_size = 16"):
            assert figure in text
    assumed = document(*arguments)["assumed"]
    assert {x["figure"]: x["value"] for x in assumed} == {
        "weight_bits": 8, "spike_rate": 1.0, "input_bits": 1, "out_size": 16,
    }  # fmt: skip
    assert document(*arguments, "--diff", "corrected", "spikesim_rram")["assumed"] == assumed


@pytest.mark.parametrize("file", KINDS)
def test_what_is_given_is_not_assumed(files, file):
    arguments = ("cost", files / file, *KINDS[file])
    assumed = {x["figure"] for x in document(*arguments)["assumed"]}
    assert "input_bits" in assumed
    assert ("weight_bits" in assumed) == ("architecture" not in file and "trial" not in file)
    assert ("spike_rate" in assumed) == (file != "trial.json")
    given = ("--weight-bits", "4", "--input-bits", "2", "--spike-rate", "0.1", "--layers")
    written = files / "told.json"
    left = document(*arguments, *given, written)["assumed"]
    assert [x["figure"] for x in left if "in the file" not in x["remedy"]] == []
    layers = json.loads(written.read_text())["layers"]
    assert {(x["weight_bits"], x["spike_rate"]) for x in layers} == {(4, 0.1)}
    assert layers[0]["input_bits"] == 2
    assert document("cost", written, "--time-steps", 9)["assumed"] == []


@pytest.mark.parametrize("file", KINDS)
def test_a_written_layer_list_is_the_network(files, file):
    written = files / "written.json"
    before = document("cost", files / file, *KINDS[file], "--layers", written)
    again = document("cost", written, "--profile", before["profile"])
    assert again["metrics"] == before["metrics"]
    assert again["assumed"] == []
    content = written.read_text()
    assert "exists already: --force replaces it" in refused("cost", written, "--layers", written)
    assert "ends in .json" in refused("cost", written, "--layers", files / "a.txt")
    assert written.read_text() == content
    assert run("cost", written, "--layers", written, "--force").exit_code == 0
    assert sorted(x.name for x in files.glob("*.part")) == []


def test_a_refused_network_writes_nothing(files):
    written = files / "written.json"
    refused("cost", files / "list.json", "--layers", written)
    refused(
        "cost", files / "list.json", "--input", "2,16,16", "--budget", "x=1", "--layers", written
    )
    assert not written.exists()


def test_a_trial_is_costed_at_its_rates_on_the_chip_of_its_study(files):
    study = files / "study.toml"
    text = Path(STUDY).read_text()
    study.write_text(text.replace("[hardware]", "[hardware]\noverrides = { crossbar_size = 128 }"))
    plain, own = (
        document("cost", files / "trial.json", "--study", s)["metrics"] for s in (STUDY, study)
    )
    named = document(
        "cost",
        files / "trial.json",
        "--study",
        study,
        "--profile",
        "corrected",
        "--set",
        "clock=250",
    )
    assert own["crossbars"] < plain["crossbars"]
    assert named["metrics"] == plain
    assert any("clock = 250: the chip has this value already" in x for x in named["warnings"])
    network = read_network(files / "trial.json", Given(), load_spec(Path(STUDY)))
    assert {x.spike_rate for x in network.workload.layers} == {0.25}


@pytest.mark.parametrize(
    ("name", "text", "layers"),
    [
        ("r.json", "[0.5, 0.25]", [0.5, 0.25]),
        ("r.json", '{"layer1": 0.25, "layer0": [0, 0.5, 1, 1]}', [[0, 0.5, 1, 1], 0.25]),
        ("r.json", '{"spike_rates": {"layer1": 0.25, "layer0": 0}}', [0, 0.25]),
        ("r.txt", "# rates\n0.5\n\n0.25\n", [0.5, 0.25]),
        ("r.csv", "layer1,0.25\r\nlayer0, 0.5", [0.5, 0.25]),
    ],
)
def test_files_of_spike_rates(files, name, text, layers):
    (files / name).write_bytes(text.encode("utf-8-sig"))
    written = files / "written.json"
    arguments = ("--input", "2,16,16", "--spike-rate", files / name, "--layers", written)
    assert run("cost", files / "list.json", *arguments).exit_code == 0
    assert [x["spike_rate"] for x in json.loads(written.read_text())["layers"]] == layers


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ("1.5", "a share 0..1, or a file"),
        ("none.txt", "a share 0..1 or a file is needed"),
        ("[0.5]", "2 spike rates are needed, one for each layer, not 1"),
        ("[0.5, 2]", "spike_rate = 2"),
        ("[]", "a rate for each layer is needed"),
        ("3", "a rate for each layer is needed"),
        ('{"layer0": 0.5}', "none for layer 'layer1'"),
        ('{"layer0": 0.5, "layer1": 0.5, "b": 1}', "'b' is no layer of layer0, layer1"),
        ("0.5\nx\n", "line 2: 'x': one rate"),
        ("0.5\n0_1\n", "line 2: '0_1': one rate"),
        ("layer0 0.5\n0.5\n", "line 2: '0.5': one rate"),
        ("layer0 0.5,\n", "line 1: 'layer0 0.5,': one rate"),
        ("a layer;0.5\n", "none for layer 'layer0'"),
        ("layer0 0.5\nlayer0 0.5\n", "line 2: a second rate for layer 'layer0'"),
    ],
)
def test_wrong_spike_rates(files, rates, message):
    value = rates
    if rates[0] in "[{3" or "\n" in rates:
        value = files / ("r.txt" if "\n" in rates else "r.json")
        value.write_text(rates)
    arguments = ("cost", files / "list.json", "--input", "2,16,16", "--spike-rate", value)
    assert message in refused(*arguments)


def test_commands_that_train_take_trials_and_say_what_a_layer_list_lacks(files):
    shown = document("evaluate", files / "trial.json", STUDY, "--no-train")
    assert (shown["architecture"]["weight_bits"], shown["seed"]) == (4, 3)
    (assumed,) = shown["hardware"]["assumed"]
    assert (assumed["figure"], assumed["value"]) == ("spike_rate", 0.1)
    (files / "printed.json").write_text(json.dumps(shown))
    assert document("cost", files / "printed.json", "--study", STUDY)["metrics"]
    assert "a layer list has no cells" in refused("evaluate", files / "list.json", STUDY)
    assert "an architecture is needed" in refused("evaluate", files / "graph.nir", STUDY)
    study = files / "study.toml"
    for name, message in (("list", "a layer list has no cells"), ("other", "an architecture is")):
        (files / "other.json").write_text('{"a": 1}')
        start = f'[search]\ninitial = ["{name}.json"]\n'
        study.write_text(Path(STUDY).read_text().replace("[search]\n", start))
        assert f"search.initial.0: {name}.json: " in refused("check", study)
        assert message in refused("check", study)


def test_overrides_of_a_study_that_do_nothing_are_named(files):
    study = files / "study.toml"
    for overrides, notes in (
        ("clock = 100, columns_per_adc = 65", ["columns_per_adc = 65: costed as 64, the columns"]),
        ("adc_energy = 3", ["adc_energy = 3: changes nothing of this network, it does with adc"]),
        ("stuck_on = 0.1", ["stuck_on = 0.1: changes no cost"]),
        ("stuck_on = 0.1 }\nmonte_carlo_chips = 1 #", []),
    ):
        own = f"[hardware]\noverrides = {{ {overrides} }}\n"
        study.write_text(Path(STUDY).read_text().replace("[hardware]\n", own))
        shown = document("check", study)["notes"]
        assert len(shown) == len(notes), shown
        for text, note in zip(shown, notes, strict=True):
            assert text.startswith(f"hardware.overrides: {note}")


def test_measurements_name_any_network(files):
    chip = load_profile("corrected").with_values({"clock": 500})
    networks = {
        file: read_network(files / file, given, load_spec(Path(STUDY)))
        for file, given in (
            ("architecture.json", Given()),
            ("trial.json", Given()),
            ("graph.nir", Given(time_steps=4)),
        )
    }
    rows = [
        f"{file},{chip.estimate(x.workload.at_rate(0.5)).metrics()['latency_ms']!r},0.5"
        for file, x in networks.items()
    ]
    table = files / "m.csv"
    table.write_text("\n".join(["workload,latency_ms,spike_rate", *rows[:2]]))
    fit = ("calibrate", table, "--profile", "corrected", "--fit", "clock")
    fit = (*fit, "-o", files / "mine.toml")
    assert "m.csv: line 2: workload: " in refused(*fit)
    assert "an architecture needs --study" in refused(*fit)
    result = document(*fit, "--study", STUDY)
    assert result["figures"][0]["after"] == pytest.approx(500, rel=1e-3)
    assert {x["figure"] for x in result["assumed"]["trial.json"]} == {"input_bits"}
    table.write_text("\n".join(["workload,latency_ms,spike_rate", *rows[2:], *rows[2:]]))
    assert "a graph has no time steps: --time-steps" in refused(*fit, "--force")
    printed = run(*fit, "--force", "--time-steps", 4).stdout
    remedy = "(--weight-bits says it), for graph.nir, line 2 and 1 more"
    assert f"assumed: weight_bits = 8 in all layers {remedy}" in printed


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--diff", "corrected", "spikesim_rram", "--html", "a.html"), "without --html"),
        (("--diff", "corrected", "spikesim_rram", "--budget", "a=1"), "without --budget"),
        (("--markdown", "--json"), "--markdown and --json"),
        (("--input", "2,x,3"), "channels, height and width"),
        (("--input", "2,0,3"), "channels, height and width"),
    ],
)
def test_options_that_would_be_ignored(files, more, message):
    result = run("cost", files / "list.json", *more)
    assert (result.exit_code, message in result.stderr) == (2, True), result.output


def test_documents_that_are_no_network(files):
    (files / "other.json").write_text('{"rows": [], "metrics": {}}')
    message = refused("cost", files / "other.json")
    assert "no network (its keys: rows, metrics)" in message
    assert "nas show NAME TRIAL --json" in message
    assert "but the images of the study are (1, 8, 8)" in refused(
        "cost", files / "architecture.json", "--study", STUDY, "--input", "3,8,8"
    )


def test_a_page_replaces_no_other_file(files):
    net = files / "list.json"
    before = net.read_text()
    assert "a name that ends in .html" in refused("cost", net, "--input", "2,16,16", "--html", net)
    assert "a name that ends in .html" in refused("report", "digits", "-o", net)
    assert net.read_text() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input", "1,2,16,16"], "'1,2,16,16': 4 sizes, without batch or time: 2,16,16?"),
        (["--input", "2,x,16"], "'2,x,16': channels, height and width such as"),
        (["--weight-bits", "33"], "'--weight-bits': 33 is not in the range 1<=x<=32"),
        (["--no-such"], "no option '--no-such'"),
        (["--budget", "energy_uJ"], "--budget 'energy_uJ': KEY=VALUE is needed"),
        (["--set", "clock=1", "--set", "clock = 2"], "--set clock: 1 and 2, one of them is needed"),
        (["--set", "=2"], "--set '=2': KEY=VALUE is needed"),
    ],
)
def test_wrong_options_are_one_line(files, options, message):
    given = ["--input", "2,16,16", *options] if options[0] != "--input" else options
    assert message in refused("cost", files / "list.json", *given)
